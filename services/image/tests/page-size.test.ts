// The page is as large as the picture at the density that the file states for each axis, on every path.
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import type { ConvertOptions } from '../src/convert/options.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { readPictures } from './support/pdf-reader.ts';
import { height, picture, rgbSamples, width } from './support/picture.ts';
import { chunk, writePng } from './support/png-writer.ts';
import { tiffFile, type TiffPlan } from './support/tiff-writer.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

async function pageOf(file: Buffer, options: Partial<ConvertOptions> = {}): Promise<readonly number[]> {
  const [first] = await readPictures((await convertBytes(decoders, file, options)).pdf);
  return [first!.page.width, first!.page.height];
}
const at = (x: number, y: number): readonly number[] =>
  [(width * 72) / x, (height * 72) / y].map((points) => expect.closeTo(points, 3) as number);

const rgb = rgbSamples();
const tiff = (x: number, y: number, unit: number | undefined): Buffer => {
  const tags: NonNullable<TiffPlan['tags']> = [
    [282, 5, x > 0 ? [x] : []],
    [283, 5, y > 0 ? [y] : []],
    [296, 3, unit === undefined ? [] : [unit]],
  ];
  return tiffFile([{ width, height, data: rgb, samples: 3, tags }]);
};

describe('TIFF', () => {
  it.each([
    ['per inch', tiff(300, 300, 2), at(300, 300)],
    ['per inch, unlike across and down', tiff(300, 150, 2), at(300, 150)],
    ['per centimetre', tiff(118, 59, 3), at(300, 150)],
    ['without a unit: a ratio', tiff(300, 300, 1), at(96, 96)],
    ['without a unit, twice as many across', tiff(200, 100, 1), at(192, 96)],
    ['of a unit that is not stated: per inch', tiff(150, 150, undefined), at(150, 150)],
    ['of one axis', tiff(150, 0, 2), at(150, 150)],
    ['that states nothing', tiff(0, 0, undefined), at(96, 96)],
  ])('%s', async (_, file, page) => {
    for (const options of [{}, { quality: 'low' }, { quality: 'high' }] as const) {
      expect(await pageOf(file, options)).toEqual(page);
    }
  });

  it('a fax of standard resolution, 204 x 98: its page is not squashed', async () => {
    const bilevel = tiffFile([
      {
        width,
        height,
        data: Buffer.alloc((width / 8) * height, 0xa5),
        bits: 1,
        tags: [
          [282, 5, [204]],
          [283, 5, [98]],
          [296, 3, [2]],
        ],
      },
    ]);
    expect(await pageOf(bilevel)).toEqual(at(204, 98));
    const fax = await sharp({ create: { width: 1728, height: 1143, channels: 3, background: '#fff' } })
      .toColourspace('b-w')
      .tiff({ compression: 'ccittfax4', bitdepth: 1, xres: 204 / 25.4, yres: 98 / 25.4 })
      .toBuffer();
    const [across = 0, down = 0] = await pageOf(fax);
    expect([Math.round(across), Math.round(down)]).toEqual([610, 840]);
  });

  it('an A4 scan at 150 dpi is A4, in every unit', async () => {
    const [w, h] = [1240, 1754];
    const data = Buffer.alloc((w / 8) * h, 0xff);
    const scan = (tags: NonNullable<TiffPlan['tags']>): Buffer =>
      tiffFile([{ width: w, height: h, data, bits: 1, tags }]);
    for (const file of [
      scan([
        [282, 5, [150]],
        [283, 5, [150]],
        [296, 3, [2]],
      ]),
      scan([
        [282, 5, [59]],
        [283, 5, [59]],
        [296, 3, [3]],
      ]),
    ]) {
      const [across = 0, down = 0] = await pageOf(file);
      expect([Math.round(across), Math.round(down)]).toEqual([595, 842]);
    }
    const unitless = await pageOf(
      scan([
        [282, 5, [150]],
        [283, 5, [150]],
        [296, 3, [1]],
      ]),
    );
    expect(unitless).toEqual([930, 1315.5]);
  });

  it('turned by its orientation, which takes the density with it', async () => {
    const file = tiffFile([
      {
        width,
        height,
        data: rgb,
        samples: 3,
        tags: [
          [274, 3, [6]],
          [282, 5, [300]],
          [283, 5, [150]],
          [296, 3, [2]],
        ],
      },
    ]);
    expect(await pageOf(file)).toEqual([...at(300, 150)].toReversed());
    expect(await pageOf(file, { maxWidth: height / 2 })).toEqual(
      [(height * 72) / 150 / 2, (width * 72) / 300 / 2].map((points) => expect.closeTo(points, 3) as number),
    );
  });
});

const phys = (x: number, y: number, unit: number): Buffer => {
  const data = Buffer.alloc(9);
  data.writeUInt32BE(x, 0);
  data.writeUInt32BE(y, 4);
  data[8] = unit;
  return chunk('pHYs', data);
};
const png = (interlaced: boolean, early: readonly Buffer[]): Buffer =>
  writePng({
    width,
    height,
    colourType: 2,
    bits: 8,
    sample: (x, y, k) => rgb[(y * width + x) * 3 + k] as number,
    interlaced,
    early,
  });

describe.each([false, true])('PNG, interlaced: %s', (interlaced) => {
  it.each([
    ['states nothing', [], at(96, 96)],
    ['per metre, unlike across and down', [phys(11_811, 5_906, 1)], at(300, 150)],
    ['without a unit: a ratio', [phys(2, 1, 0)], at(192, 96)],
    ['a placeholder', [phys(1_000, 1_000, 1)], at(96, 96)],
  ])('%s', async (_, early, page) => {
    for (const options of [{}, { quality: 'low' }, { quality: 'lossless' }] as const) {
      expect(await pageOf(png(interlaced, early), options)).toEqual(page);
    }
  });
});

describe('JPEG', async () => {
  const plain = await picture().jpeg().toBuffer();
  const jfif = (units: number, x: number, y: number): Buffer => {
    const segment = Buffer.from('\xff\xe0\0\x10JFIF\0\x01\x01', 'latin1');
    const rest = Buffer.alloc(7);
    rest[0] = units;
    rest.writeUInt16BE(x, 1);
    rest.writeUInt16BE(y, 3);
    return Buffer.concat([plain.subarray(0, 2), segment, rest, plain.subarray(2)]);
  };
  it.each([
    ['without any', plain, at(96, 96)],
    ['per inch, unlike across and down', jfif(1, 204, 98), at(204, 98)],
    ['per centimetre', jfif(2, 118, 59), at(300, 150)],
    ['without a unit: a ratio', jfif(0, 1, 2), at(96, 192)],
    ['EXIF', await picture().jpeg().withMetadata({ density: 300 }).toBuffer(), at(300, 300)],
  ])('%s', async (_, file, page) => {
    for (const options of [{}, { quality: 'low' }, { quality: 'high' }] as const) {
      expect(await pageOf(file, options)).toEqual(page);
    }
  });

  it('scaled: 96 per inch of what is left', async () => {
    expect(await pageOf(plain, { maxWidth: 24 })).toEqual([18, 12]);
  });
});

describe('other formats', () => {
  it.each(['webp', 'gif', 'avif'] as const)('%s that states nothing: 96 per inch', async (format) => {
    const file = await picture().toFormat(format).toBuffer();
    expect(await pageOf(file)).toEqual(at(96, 96));
    expect(await pageOf(file, { quality: 'low' })).toEqual(at(96, 96));
  });

  it.each(['webp', 'avif'] as const)('%s with EXIF: as it says', async (format) => {
    const file = await picture().withMetadata({ density: 200 }).toFormat(format).toBuffer();
    expect(await pageOf(file)).toEqual(at(200, 200));
  });
});
