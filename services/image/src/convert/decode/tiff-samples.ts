import sharp, { type Sharp } from 'sharp';
import { UnsupportedImageError } from '../errors.ts';
import type { TiffSamples } from '../tiff/tiff-pages.ts';

/**
 * A picture of samples that libvips hands over as numbers without knowing what they mean.
 *
 * @throws {UnsupportedImageError} when the numbers have no meaning as a picture
 */
export async function pictureOfSamples(read: Sharp, samples: Exclude<TiffSamples, 'direct'>): Promise<Sharp> {
  if (samples === 'ycbcr') {
    const { data, info } = await read.raw().toBuffer({ resolveWithObject: true });
    return sharp(rgbOfYCbCr(data), { raw: { width: info.width, height: info.height, channels: 3 } });
  }
  const depth = samples === 'gray-float' ? 'float' : 'uint';
  const { data, info } = await read
    .pipelineColourspace('b-w')
    .toColourspace('b-w')
    .raw({ depth })
    .toBuffer({ resolveWithObject: true });
  const gray = samples === 'gray-float' ? ofFloats(data) : ofUint32(data);
  return sharp(gray, { raw: { width: info.width, height: info.height, channels: 1 } }).toColourspace('grey16');
}

/** Full range YCbCr by ITU-R BT.601, as JFIF and TIFF assume, in place. */
export function rgbOfYCbCr(samples: Buffer): Buffer {
  const clamped = new Uint8ClampedArray(samples.buffer, samples.byteOffset, samples.length);
  for (let at = 0; at + 3 <= samples.length; at += 3) {
    const y = samples[at] as number;
    const cb = (samples[at + 1] as number) - 128;
    const cr = (samples[at + 2] as number) - 128;
    clamped[at] = y + 1.402 * cr;
    clamped[at + 1] = y - 0.344136 * cb - 0.714136 * cr;
    clamped[at + 2] = y + 1.772 * cb;
  }
  return samples;
}

// Readers agree on 0 for black and 1 for white. Beyond, each picks a range of its own.
function ofFloats(data: Buffer): Uint16Array {
  const values = new Float32Array(data.buffer, data.byteOffset, data.length / 4);
  const gray = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!(value >= 0 && value <= 1)) {
      throw new UnsupportedImageError(
        'TIFF with floating point samples outside 0 to 1 has no defined black and white: save it with 16 bits per sample',
      );
    }
    gray[i] = Math.round(value * 65_535);
  }
  return gray;
}

function ofUint32(data: Buffer): Uint16Array {
  return Uint16Array.from(new Uint32Array(data.buffer, data.byteOffset, data.length / 4), (value) => value >>> 16);
}
