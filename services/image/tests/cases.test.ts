// Small files that came out wrong once, each of a kind that cameras, scanners and other programs write. `cases/` holds
// them as they were; each row says the page and the picture that are right, or the code with which the file is refused.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { detectFileType } from '@sluice/contracts';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import type { ConvertOptions } from '../src/convert/options.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { largestDifference } from './support/compare.ts';
import { readPictures } from './support/pdf-reader.ts';

const folder = path.join(import.meta.dirname, 'cases');
const decoders = startDecoders();
afterAll(() => decoders.close());

interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Buffer;
}
const [width, height] = [48, 32];

const paint = (w: number, h: number, colourOf: (x: number, y: number) => readonly number[]): Picture => {
  const rgba = Buffer.alloc(w * h * 4, 255);
  for (let y = 0; y < h; y += 1) for (let x = 0; x < w; x += 1) rgba.set(colourOf(x, y), (y * w + x) * 4);
  return { width: w, height: h, rgba };
};
/** What every file shows, in colour or in gray: ramps, and three corners of one colour. */
const colour = (x: number, y: number): readonly [number, number, number] => {
  if (y < 8 && x < 12) return [255, 0, 0];
  if (y < 8 && x >= 36) return [0, 200, 0];
  if (y >= 24 && x < 12) return [0, 0, 255];
  return [255 - Math.floor((x * 200) / 48), Math.floor((y * 220) / 32) + 20, Math.floor(((x + y) * 255) / 80)];
};
const luma = ([r, g, b]: readonly [number, number, number]): number =>
  (r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16;
const same = (value: number): readonly number[] => [value, value, value];
/** The nearest pixel of the small picture, summed up as Pillow does: at exact halves rounding decides. */
const nearest = (from: number, to: number): readonly number[] => {
  const places: number[] = [];
  for (let place = (from / to) * 0.5; places.length < to; place += from / to) places.push(Math.floor(place));
  return places;
};
const [columns, rows] = [nearest(width, 216), nearest(height, 96)];
/** The same, 4.5 times as wide and three times as high. */
const largeColour = (x: number, y: number): readonly [number, number, number] => colour(columns[x] ?? 0, rows[y] ?? 0);

const rgb = paint(width, height, colour);
const gray = paint(width, height, (x, y) => same(luma(colour(x, y))));
const large = paint(216, 96, largeColour);
const largeBilevel = paint(216, 96, (x, y) => same(luma(largeColour(x, y)) > 128 ? 255 : 0));
/** What sharp makes of a file of the folder: the JPEGs are one picture, and the others of them miss something of it. */
const read = async (file: string): Promise<Picture> => {
  const image = sharp(await readFile(path.join(folder, file)), { failOn: 'none', ignoreIcc: true });
  const { data, info } = await image.ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, rgba: data };
};
const jpeg = await read('jpeg-nodensity.jpg');

interface Right {
  readonly page: readonly [width: number, height: number];
  readonly picture: Picture;
  /** What it is judged with: where the default encodes again, lossless. */
  readonly options?: Partial<ConvertOptions>;
  /** Levels by which samples may differ, of 255; 0 unless another reader rounds otherwise. */
  readonly within?: number;
  /** The filter that its samples lie behind in the PDF. */
  readonly filter?: 'DCTDecode' | 'FlateDecode';
  readonly colourSpace?: string;
}
const at = (w: number, h: number, x: number, y: number): readonly [number, number] => [(w * 72) / x, (h * 72) / y];
/** The same numbers, as pages of PDF round them. */
const near = (points: readonly number[]): readonly number[] => points.map((each) => expect.closeTo(each, 2) as number);
const at96 = at(width, height, 96, 96);

const drawn: Readonly<Record<string, Right>> = {
  'tiff-fax-204x98.tif': { page: at(216, 96, 204, 98), picture: largeBilevel },
  'tiff-rgb-300x150.tif': { page: at(216, 96, 300, 150), picture: large },
  'tiff-unit-none-300.tif': { page: at(216, 96, 96, 96), picture: large },
  'png-interlaced-aniso.png': { page: at(width, height, 299.9994, 150.0124), picture: rgb },
  'png-interlaced-nodpi.png': { page: at96, picture: rgb },
  'jpeg-jfif-aniso.jpg': { page: at(width, height, 204, 98), picture: jpeg, filter: 'DCTDecode' },
  'jpeg-nodensity.jpg': { page: at96, picture: jpeg, filter: 'DCTDecode' },
  'icc16-srgb.tif': { page: at96, picture: rgb, colourSpace: 'ICCBased' },
  'tiff-float-0-1.tif': { page: at96, picture: gray, within: 1 },
  'tiff-uint32.tif': { page: at96, picture: gray },
  'tiff-ycbcr-raw.tif': { page: at96, picture: rgb, within: 4 },
  'tiff-datetime-unterminated.tif': { page: at96, picture: rgb },
  'tiff-tags-unsorted.tif': { page: at96, picture: rgb },
  'tiff-no-stripbytecounts.tif': { page: at96, picture: rgb },
  'tiff-bigtiff.tif': { page: at96, picture: rgb },
  'tiff-thumbnail-page.tif': { page: at96, picture: rgb },
  'tiff-mask-page.tif': { page: at96, picture: rgb },
  'jpeg-samsung-sos.jpg': { page: at96, picture: jpeg, filter: 'DCTDecode' },
  'jpeg-no-dht.jpg': { page: at96, picture: jpeg, filter: 'DCTDecode' },
  'jpeg-garbage-between.jpg': { page: at96, picture: jpeg, filter: 'DCTDecode' },
  'avif-seq.avif': { page: at96, picture: rgb, within: 5, options: { quality: 'lossless' } },
  'webp-lossless-icc70k.webp': { page: at96, picture: rgb, filter: 'FlateDecode' },
  'png-iccp-after-plte.png': {
    page: at96,
    picture: await read('png-iccp-after-plte.png'),
    filter: 'FlateDecode',
    colourSpace: 'Indexed',
  },
};
/** Sound files of a form that is not decoded here. */
const refused: Readonly<Record<string, string>> = {
  'tiff-zstd.tif': 'unsupported_image',
  'tiff-lab.tif': 'unsupported_image',
};

it('every file of the folder has its right value here', async () => {
  expect((await readdir(folder)).toSorted()).toEqual([...Object.keys(drawn), ...Object.keys(refused)].toSorted());
});

describe('is drawn, on one page of its size', () => {
  it.each(Object.entries(drawn))('%s', async (file, { page, picture, within = 0, options, filter, colourSpace }) => {
    const bytes = await readFile(path.join(folder, file));
    // The gateway refuses by the same detector.
    expect(detectFileType(bytes)).toMatchObject({ kind: 'image' });
    const { pdf } = await convertBytes(decoders, bytes, options);
    const pictures = await readPictures(pdf);
    expect(pictures).toHaveLength(1);
    const [found] = pictures;
    expect([found!.page.width, found!.page.height]).toEqual(near(page));
    expect(largestDifference(found!, picture)).toBeLessThanOrEqual(within);
    if (filter !== undefined) expect(pdf.includes('/DCTDecode')).toBe(filter === 'DCTDecode');
    if (colourSpace !== undefined) expect(found!.colourSpace).toBe(colourSpace);
  });
});

describe('has the same page when it is encoded again or scaled', () => {
  const options: readonly Partial<ConvertOptions>[] = [
    { quality: 'low' },
    { quality: 'high' },
    { quality: 'lossless' },
  ];
  it.each(Object.entries(drawn))('%s', async (file, { page, picture }) => {
    const bytes = await readFile(path.join(folder, file));
    for (const each of options) {
      const [found] = await readPictures((await convertBytes(decoders, bytes, each)).pdf);
      expect([found!.page.width, found!.page.height]).toEqual(near(page));
      // Pure colours stay pure, within what JPEG does to them.
      expect(largestDifference(corner(found!), corner(picture))).toBeLessThanOrEqual(
        file === 'avif-seq.avif' ? 60 : 12,
      );
    }
    const [half] = await readPictures((await convertBytes(decoders, bytes, { maxWidth: picture.width / 2 })).pdf);
    expect([half!.page.width, half!.page.height]).toEqual(near(page.map((points) => points / 2)));
  });
});

describe('is refused by a code that blames nobody', () => {
  it.each(Object.entries(refused))('%s', async (file, code) => {
    const bytes = await readFile(path.join(folder, file));
    await expect(convertBytes(decoders, bytes)).rejects.toMatchObject({ code });
  });
});

/** The first pixel, away from every edge. */
const corner = ({ width: w, rgba }: Picture): Picture => ({
  width: 1,
  height: 1,
  rgba: rgba.subarray((w + 1) * 4, (w + 2) * 4),
});
