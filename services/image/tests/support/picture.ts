import sharp, { type Sharp } from 'sharp';

export const width = 48;
export const height = 32;

/** 8-bit RGB samples of a small picture with pure red, green and blue in three corners, and ramps between. */
export function rgbSamples(): Buffer {
  return Buffer.from(
    Array.from({ length: width * height * 3 }, (_, i) => {
      const [x, y, k] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
      if (y < 8 && x < 12) return k === 0 ? 255 : 0;
      if (y < 8 && x >= 36) return k === 1 ? 200 : 0;
      if (y >= 24 && x < 12) return k === 2 ? 255 : 0;
      return [255 - x * 4, y * 6 + 20, (x + y) * 3][k] as number;
    }),
  );
}

/** 8-bit gray samples: a ramp. */
export function graySamples(): Buffer {
  return Buffer.from(Array.from({ length: width * height }, (_, i) => (i * 255) / (width * height - 1)));
}

export const picture = (): Sharp => sharp(rgbSamples(), { raw: { width, height, channels: 3 } });

/** The samples, as 16 bits each in little-endian order. */
export function wide(samples: Buffer): Buffer {
  const out = Buffer.alloc(samples.length * 2);
  samples.forEach((sample, i) => out.writeUInt16LE(sample * 257, i * 2));
  return out;
}

/** RGBA of the samples, as a PDF draws them. */
export function rgbaOf(samples: Buffer): Buffer {
  const channels = samples.length / (width * height);
  return Buffer.from(
    Array.from({ length: width * height * 4 }, (_, i) => {
      const [pixel, k] = [Math.floor(i / 4), i % 4];
      return k === 3 ? 255 : (samples[pixel * channels + (channels === 1 ? 0 : k)] as number);
    }),
  );
}

/** An ICC profile that sharp ships, taken out of a picture that it wrote. */
export async function iccProfile(name: 'srgb' | 'p3' | 'cmyk'): Promise<Buffer> {
  const source = name === 'cmyk' ? picture().toColourspace('cmyk') : picture();
  const { icc } = await sharp(await source.withIccProfile(name).tiff().toBuffer()).metadata();
  if (!icc) throw new Error(`no profile ${name}`);
  return icc;
}
