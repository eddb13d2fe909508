// Colours: samples are kept with their profile, or what is left of it.
import zlib from 'node:zlib';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import type { ConvertOptions } from '../src/convert/options.ts';
import { largestDifference } from './support/compare.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { adobeRgb, proPhotoRgb } from './support/matrix-profile.ts';
import { readPictures, type DrawnPicture } from './support/pdf-reader.ts';
import { graySamples, height, iccProfile, picture, rgbaOf, rgbSamples, wide, width } from './support/picture.ts';
import { chunk, writePng } from './support/png-writer.ts';
import { tiffFile, type TiffPlan } from './support/tiff-writer.ts';

const deflate = (data: Buffer): Buffer => zlib.deflateSync(data);
const decoders = startDecoders();
afterAll(() => decoders.close());

async function drawn(file: Buffer, options: Partial<ConvertOptions> = {}): Promise<DrawnPicture> {
  const [first] = await readPictures((await convertBytes(decoders, file, options)).pdf);
  return first!;
}
const difference = (result: DrawnPicture, samples: Buffer): number =>
  largestDifference(result, { width, height, rgba: rgbaOf(samples) });
const corner = ({ rgba }: DrawnPicture): number[] => [...rgba.subarray(0, 3)];

const rgb = rgbSamples();
const [srgb, p3] = await Promise.all([iccProfile('srgb'), iccProfile('p3')]);
const rgb16 = (profile?: Buffer): TiffPlan => ({
  width,
  height,
  data: wide(rgb),
  bits: 16,
  samples: 3,
  ...(profile && { tags: [[34_675, 7, [...profile]]] }),
});
const interlaced16 = (profile: Buffer): Buffer => {
  const iccp = Buffer.concat([Buffer.from('p\0\0', 'latin1'), deflate(profile)]);
  return writePng({
    width,
    height,
    colourType: 2,
    bits: 16,
    interlaced: true,
    sample: (x, y, k) => (rgb[(y * width + x) * 3 + k] as number) * 257,
    early: [chunk('iCCP', iccp)],
  });
};

describe('16 bits with a profile: samples stay as they are, and the PDF says whose they are', () => {
  it.each([
    ['sRGB, TIFF', tiffFile([rgb16(srgb)]), srgb],
    ['Display P3, TIFF', tiffFile([rgb16(p3)]), p3],
    ['Adobe RGB, TIFF', tiffFile([rgb16(adobeRgb)]), adobeRgb],
    ['Adobe RGB, interlaced PNG', interlaced16(adobeRgb), adobeRgb],
    ['sRGB, interlaced PNG', interlaced16(srgb), srgb],
    ['Display P3, interlaced PNG', interlaced16(p3), p3],
  ])('%s', async (_, file, profile) => {
    const result = await drawn(file);
    expect(difference(result, rgb)).toBe(0);
    expect(result).toMatchObject({ colourSpace: 'ICCBased', bits: 16 });
    expect(result.profile?.equals(profile)).toBe(true);
  });

  it.each([
    ['maxWidth', { maxWidth: 24 }],
    ['low quality', { quality: 'low' }],
    ['low quality and maxWidth', { quality: 'low', maxWidth: 24 }],
  ] as const)('with %s, too', async (_, options) => {
    for (const file of [tiffFile([rgb16(p3)]), interlaced16(p3)]) {
      const result = await drawn(file, options);
      expect(result.profile?.equals(p3)).toBe(true);
      // Chroma at half its resolution leaks into a corner of six pixels.
      expect(Math.max(...corner(result).map((value, k) => Math.abs(value - [255, 0, 0][k]!)))).toBeLessThan(16);
    }
  });

  it('without one, nothing changes', async () => {
    const result = await drawn(tiffFile([rgb16()]));
    expect(difference(result, rgb)).toBe(0);
    expect(result.colourSpace).toBe('DeviceRGB');
  });
});

describe('8 bits with a profile: the same', () => {
  it.each(['tiff', 'webp', 'avif', 'png'] as const)('%s', async (format) => {
    const source = picture().withIccProfile('p3');
    const encoders = {
      tiff: () => source.tiff(),
      webp: () => source.webp({ lossless: true }),
      avif: () => source.avif({ lossless: true, effort: 0 }),
      png: () => source.png({ progressive: true }),
    };
    const file = await encoders[format]().toBuffer();
    const stored = await sharp(file, { ignoreIcc: true }).removeAlpha().raw().toBuffer();
    const result = await drawn(file, { quality: 'lossless' });
    expect(difference(result, stored)).toBe(0);
    expect(result.colourSpace).toBe('ICCBased');
    expect(result.profile?.toString('latin1', 36, 40)).toBe('acsp');
  });
});

describe('stripMetadata keeps the colours of a profile and nothing else of it', async () => {
  const cmyk = await iccProfile('cmyk');
  /** What lcms makes of the samples in sRGB. */
  const seen = async (profile: Buffer, data: Buffer, samples = 3): Promise<Buffer> => {
    const plan = { width, height, data, samples, photometric: samples === 4 ? 5 : 2 };
    return sharp(tiffFile([{ ...plan, tags: [[34_675, 7, [...profile]]] }]))
      .toColourspace('srgb')
      .raw()
      .toBuffer();
  };

  it.each([
    ['sRGB', srgb],
    ['Display P3', p3],
    ['Adobe RGB', adobeRgb],
    ['ProPhoto RGB, far beyond Display P3', proPhotoRgb],
  ])('%s, of 8 and 16 bits, decoded and copied', async (_, profile) => {
    const named = withTag(profile, 'dmdd', 'textMONITOR OF ANN, SERIAL 4711');
    const plan = { width, height, samples: 3, tags: [[34_675, 7, [...named]]] } as const;
    const iccp = Buffer.concat([Buffer.from('MONITOR\0\0', 'latin1'), deflate(named)]);
    const sample = (x: number, y: number, k: number): number => rgb[(y * width + x) * 3 + k] as number;
    const files = [
      tiffFile([{ ...plan, data: wide(rgb), bits: 16 }]),
      tiffFile([{ ...plan, data: rgb }]),
      interlaced16(named),
      writePng({ width, height, colourType: 2, bits: 8, sample, early: [chunk('iCCP', iccp)] }),
    ];
    for (const file of files) {
      const result = await drawn(file, { stripMetadata: true });
      expect(difference(result, rgb)).toBe(0);
      const left = result.profile ?? Buffer.alloc(0);
      expect(left.toString('latin1')).not.toMatch(/MONITOR|ANN|4711/);
      expect((await seen(left, rgb)).equals(await seen(profile, rgb))).toBe(true);
      expect((await drawn(file)).profile?.includes('4711')).toBe(true);
    }
  });

  it('a JPEG is still copied', async () => {
    const jpeg = await picture().withIccProfile('p3').jpeg().toBuffer();
    expect(await convertBytes(decoders, jpeg, { stripMetadata: true })).toMatchObject({ path: 'passthrough' });
    const [kept, stripped] = [await drawn(jpeg), await drawn(jpeg, { stripMetadata: true })];
    expect(stripped.rgba.equals(kept.rgba)).toBe(true);
    expect((await seen(stripped.profile!, rgb)).equals(await seen(p3, rgb))).toBe(true);
    expect(stripped.profile!.includes('desc')).toBe(true);
  });

  it('CMYK stays CMYK', async () => {
    const inks = Buffer.from(Array.from({ length: width * height * 4 }, (_, i) => (i * 7) & 255));
    const file = tiffFile([
      {
        width,
        height,
        data: inks,
        samples: 4,
        photometric: 5,
        tags: [[34_675, 7, [...withTag(cmyk, 'xxxx', 'SERIAL')]]],
      },
    ]);
    const { profile } = await drawn(file, { stripMetadata: true });
    expect(profile?.includes('SERIAL')).toBe(false);
    expect((await seen(profile!, inks, 4)).equals(await seen(cmyk, inks, 4))).toBe(true);
  });

  it('one whose tags lie beyond its end is left out', async () => {
    const broken = Buffer.from(srgb);
    broken.writeUInt32BE(0xff_ff_ff, 128 + 4 + 4);
    const file = tiffFile([{ width, height, data: rgb, samples: 3, tags: [[34_675, 7, [...broken]]] }]);
    expect(await drawn(file, { stripMetadata: true })).toMatchObject({ profile: undefined, colourSpace: 'DeviceRGB' });
  });
});

/** A profile with one more tag at its end. */
function withTag(profile: Buffer, name: string, text: string): Buffer {
  const count = profile.readUInt32BE(128);
  const tableEnd = 132 + 12 * count;
  const entry = Buffer.alloc(12);
  entry.write(name, 0, 'latin1');
  entry.writeUInt32BE(profile.length + 12, 4);
  entry.writeUInt32BE(text.length, 8);
  const all = Buffer.concat([profile.subarray(0, tableEnd), entry, profile.subarray(tableEnd), Buffer.from(text)]);
  for (let at = 132; at < tableEnd; at += 12) all.writeUInt32BE(all.readUInt32BE(at + 4) + 12, at + 4);
  all.writeUInt32BE(count + 1, 128);
  all.writeUInt32BE(all.length, 0);
  return all;
}

describe('CMYK stays CMYK', () => {
  const inks = Buffer.from(Array.from({ length: width * height * 4 }, (_, i) => (i % 4 === 3 ? 20 : (i * 5) & 255)));
  const asRgb = Buffer.from(
    Array.from({ length: width * height * 3 }, (_, i) => {
      const pixel = Math.floor(i / 3) * 4;
      return ((255 - inks[pixel + (i % 3)]!) * (255 - inks[pixel + 3]!)) / 255 + 0.5;
    }),
  );
  it.each([
    ['8 bits', tiffFile([{ width, height, data: inks, samples: 4, photometric: 5 }]), 8],
    ['16 bits', tiffFile([{ width, height, data: wide(inks), bits: 16, samples: 4, photometric: 5 }]), 16],
  ])('TIFF, %s', async (_, file, bits) => {
    const result = await drawn(file);
    expect(result).toMatchObject({ colourSpace: 'DeviceCMYK', bits });
    expect(difference(result, asRgb)).toBeLessThanOrEqual(1);
  });

  it('with its profile', async () => {
    const file = await picture().toColourspace('cmyk').withIccProfile('cmyk').tiff().toBuffer();
    const result = await drawn(file);
    expect(result.colourSpace).toBe('ICCBased');
    expect(result.profile?.toString('latin1', 16, 20)).toBe('CMYK');
  });

  it.each([{ quality: 'low' }, { maxWidth: 24 }, { quality: 'lossless', maxWidth: 24 }] as const)(
    'JPEG and TIFF with %j',
    async (options) => {
      const source = picture().toColourspace('cmyk');
      for (const file of [await source.clone().jpeg().toBuffer(), await source.clone().tiff().toBuffer()]) {
        const result = await drawn(file, options);
        expect(result.colourSpace).toBe('DeviceCMYK');
        const [red = 0, green = 0, blue = 0] = corner(result);
        expect(red).toBeGreaterThan(170);
        expect(Math.max(green, blue)).toBeLessThan(90);
      }
    },
  );
});

describe('samples that are no RGB of 8 or 16 bits', () => {
  const gray = graySamples();
  const numbers = (write: (view: DataView, at: number, value: number) => void): Buffer => {
    const bytes = Buffer.alloc(gray.length * 4);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    gray.forEach((value, i) => write(view, i * 4, value));
    return bytes;
  };
  const floats = numbers((view, at, value) => view.setFloat32(at, value / 255, true));
  const integers = numbers((view, at, value) => view.setUint32(at, value * 0x01010101, true));
  const yCbCr = Buffer.from(
    Array.from({ length: width * height * 3 }, (_, i) => {
      const at = i - (i % 3);
      const [r, g, b] = [rgb[at]!, rgb[at + 1]!, rgb[at + 2]!];
      const y = 0.299 * r + 0.587 * g + 0.114 * b;
      return Math.min(255, Math.round([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402][i % 3]!));
    }),
  );

  it.each([
    ['float gray, 0 to 1', { data: floats, bits: 32, tags: [[339, 3, [3]]] }, gray, 0],
    ['unsigned gray of 32 bits', { data: integers, bits: 32 }, gray, 0],
    ['white is zero', { data: gray.map((v) => 255 - v) as Buffer, photometric: 0 }, gray, 0],
    ['white is zero, 16 bits', { data: wide(gray.map((v) => 255 - v) as Buffer), bits: 16, photometric: 0 }, gray, 0],
    ['YCbCr', { data: yCbCr, samples: 3, photometric: 6, tags: [[530, 3, [1, 1]]] }, rgb, 2],
    [
      'YCbCr in Deflate',
      {
        data: deflate(yCbCr),
        samples: 3,
        photometric: 6,
        tags: [
          [530, 3, [1, 1]],
          [259, 3, [8]],
        ],
      },
      rgb,
      2,
    ],
  ] as const)('TIFF, %s: drawn right', async (_, plan, samples, most) => {
    const file = tiffFile([{ width, height, ...plan }]);
    expect(difference(await drawn(file), samples)).toBeLessThanOrEqual(most);
    for (const options of [{ quality: 'low' }, { maxWidth: 24 }] as const) {
      const small = await drawn(file, options);
      expect(Math.abs(small.rgba[0]! - rgbaOf(samples)[0]!)).toBeLessThan(12);
      expect(Math.abs(small.rgba.at(-2)! - rgbaOf(samples).at(-2)!)).toBeLessThan(20);
    }
  });

  it('TIFF, subsampled YCbCr: drawn right', async () => {
    // Units of two by two: four of luma, one of each chroma.
    const units = Buffer.from(Array.from({ length: (width * height) / 4 }, () => [76, 76, 76, 76, 85, 255]).flat());
    const file = tiffFile([{ width, height, data: units, samples: 3, photometric: 6 }]);
    expect(corner(await drawn(file)).map((value) => Math.round(value / 10))).toEqual([25, 0, 0]);
  });

  const refused: readonly (readonly [string, Partial<TiffPlan>])[] = [
    [
      'float beyond 0 to 1',
      { data: numbers((view, at, value) => view.setFloat32(at, value, true)), bits: 32, tags: [[339, 3, [3]]] },
    ],
    ['float colour', { data: Buffer.alloc(width * height * 12), bits: 32, samples: 3, tags: [[339, 3, [3, 3, 3]]] }],
    ['signed', { data: gray, tags: [[339, 3, [2]]] }],
    ['10 bits', { data: Buffer.alloc((width * height * 10) / 8), bits: 10 }],
    ['12 bits of colour', { data: Buffer.alloc((width * height * 36) / 8), bits: 12, samples: 3 }],
    ['4 bits of colour', { data: Buffer.alloc((width * height * 12) / 8), bits: 4, samples: 3 }],
    ['CIE L*a*b* of 8 bits', { data: rgb, samples: 3, photometric: 8 }],
    ['ICC L*a*b*', { data: rgb, samples: 3, photometric: 9 }],
    ['raw sensor data', { data: gray, photometric: 32_803 }],
    ['other inks', { data: Buffer.alloc(width * height * 4), samples: 4, photometric: 5, tags: [[332, 3, [2]]] }],
    [
      'YCbCr of other coefficients',
      {
        data: yCbCr,
        samples: 3,
        photometric: 6,
        tags: [
          [530, 3, [1, 1]],
          [529, 5, [1, 1, 1]],
        ],
      },
    ],
  ];
  it.each(refused)('TIFF, %s: refused, and the file is not called broken', async (_, plan) => {
    const file = tiffFile([{ width, height, ...plan } as TiffPlan]);
    await expect(convertBytes(decoders, file)).rejects.toMatchObject({ code: 'unsupported_image' });
  });

  it('TIFF, CIE L*a*b* of 16 bits: drawn as RGB', async () => {
    const data = Buffer.alloc(width * height * 6);
    for (let i = 0; i < width * height; i++) data.writeUInt16LE(65_535, i * 6);
    const result = await drawn(tiffFile([{ width, height, data, bits: 16, samples: 3, photometric: 8 }]));
    expect(corner(result).every((value) => value >= 253)).toBe(true);
  });
});

describe('lossless WebP stays lossless', () => {
  it('behind a profile of any size', async () => {
    const webp = await picture().webp({ lossless: true }).withIccProfile('srgb').toBuffer();
    const file = withChunkBefore(webp, 'VP8L', riffChunk('XXXX', Buffer.alloc(70_001)));
    const { pdf } = await convertBytes(decoders, file);
    expect(pdf.includes('/DCTDecode')).toBe(false);
    expect(difference((await readPictures(pdf))[0]!, rgb)).toBe(0);
  });

  it('when it is animated', async () => {
    const frames = Buffer.concat([rgb, rgb.map((value) => 255 - value)]);
    const strip = sharp(frames, { raw: { width, height: height * 2, channels: 3, pageHeight: height } });
    const [lossless, lossy] = await Promise.all([
      strip.clone().webp({ lossless: true }).toBuffer(),
      strip.clone().webp({ quality: 60 }).toBuffer(),
    ]);
    expect(lossless.includes('ANMF')).toBe(true);
    expect((await convertBytes(decoders, lossless)).pdf.includes('/DCTDecode')).toBe(false);
    expect((await convertBytes(decoders, lossy)).pdf.includes('/DCTDecode')).toBe(true);
  });
});

function riffChunk(type: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, 0, 'latin1');
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length & 1)]);
}

function withChunkBefore(webp: Buffer, type: string, extra: Buffer): Buffer {
  const at = webp.indexOf(type, 12, 'latin1');
  const file = Buffer.concat([webp.subarray(0, at), extra, webp.subarray(at)]);
  file.writeUInt32LE(file.length - 8, 4);
  return file;
}
