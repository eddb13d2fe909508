// TIFFs as programs write them: pages and subfiles, tags that readers complain of, forms that are not decoded.
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { largestDifference } from './support/compare.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { readPictures } from './support/pdf-reader.ts';
import { height, picture, rgbaOf, rgbSamples, width } from './support/picture.ts';
import { tiffFile, zstd, type TiffPlan } from './support/tiff-writer.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

const rgb = rgbSamples();
const page: TiffPlan = { width, height, data: rgb, samples: 3 };
const reduced: TiffPlan = { width: 12, height: 8, data: rgb.subarray(0, 12 * 8 * 3), samples: 3 };
const mask: TiffPlan = { width, height, data: Buffer.alloc((width / 8) * height, 0xf0), bits: 1, photometric: 4 };

async function pagesOf(file: Buffer): Promise<readonly string[]> {
  const pictures = await readPictures((await convertBytes(decoders, file)).pdf);
  return pictures.map(
    (each) =>
      `${each.width} x ${each.height}` +
      (largestDifference(each, { width, height, rgba: rgbaOf(rgb) }) === 0 ? '' : ', another picture'),
  );
}
const whole = `${width} x ${height}`;

describe('a page for each picture of its own', () => {
  it.each([
    ['one directory', [page], [whole]],
    ['two', [page, page], [whole, whole]],
    ['a reduced copy behind', [page, { ...reduced, tags: [[254, 4, [1]]] }], [whole]],
    ['a reduced copy in front', [{ ...reduced, tags: [[254, 4, [1]]] }, page], [whole]],
    ['a reduced copy by the tag of old', [page, { ...reduced, tags: [[255, 3, [2]]] }], [whole]],
    ['a mask', [page, { ...mask, tags: [[254, 4, [4]]] }], [whole]],
    ['a mask that only its samples tell', [page, mask], [whole]],
    [
      'pages of a document, marked so',
      [
        { ...page, tags: [[254, 4, [2]]] },
        { ...page, tags: [[254, 4, [2]]] },
      ],
      [whole, whole],
    ],
    ['nothing but a reduced copy', [{ ...page, tags: [[254, 4, [1]]] }], [whole]],
  ] as const)('%s', async (_, plans, pages) => {
    expect(await pagesOf(tiffFile(plans as readonly TiffPlan[]))).toEqual(pages);
    expect(await pagesOf(tiffFile(plans as readonly TiffPlan[], { big: true }))).toEqual(pages);
  });

  it('subfiles do not count as pages', async () => {
    const thumbnails = Array.from({ length: 5 }, (): TiffPlan => ({ ...reduced, tags: [[254, 4, [1]]] }));
    const file = tiffFile([page, ...thumbnails]);
    expect((await convertBytes(decoders, file, {}, { maxPages: 1 })).pictures.length).toBe(1);
    const two = convertBytes(decoders, tiffFile([page, page]), {}, { maxPages: 1 });
    await expect(two).rejects.toMatchObject({ code: 'image_too_large' });
  });

  it('a chain that comes back to itself ends', async () => {
    const file = tiffFile([page]);
    const directory = file.readUInt32LE(4);
    file.writeUInt32LE(directory, directory + 2 + file.readUInt16LE(directory) * 12);
    expect(await pagesOf(file)).toEqual([whole]);
  });
});

describe('what libtiff only warns of is drawn', () => {
  const text = (value: string): number[] => [...Buffer.from(value, 'latin1')];
  it.each([
    ['DateTime without NUL', { tags: [[306, 2, text('2020:01:01 00:00:00 ')]] }],
    ['tags out of order', { reversedTags: true }],
    ['no StripByteCounts', { tags: [[279, 4, []]] }],
    ['an unknown tag', { tags: [[60_000, 3, [1]]] }],
    ['a private tag of a wrong type', { tags: [[33_432, 3, [1, 2, 3]]] }],
  ] as const)('%s', async (_, change) => {
    expect(await pagesOf(tiffFile([{ ...page, ...change }]))).toEqual([whole]);
  });

  it('no ExtraSamples for a fourth sample: it is alpha', async () => {
    const rgba = rgbaOf(rgb);
    const file = tiffFile([{ width, height, data: rgba, samples: 4, photometric: 2 }]);
    expect(await pagesOf(file)).toEqual([whole]);
  });
});

describe('what libtiff calls an error, though it does not bear on the pixels, is drawn', () => {
  const text = (value: string): number[] => [...Buffer.from(value, 'latin1')];
  const at96 = [[width, height].map((pixels) => (pixels * 72) / 96)];
  const sizes = async (file: Buffer) =>
    (await readPictures((await convertBytes(decoders, file)).pdf)).map(({ page: { width: w, height: h } }) => [w, h]);

  it.each([
    ['an orientation of 0', [274, 3, [0]]],
    ['an orientation of 9', [274, 3, [9]]],
    ['a fill order of 0', [266, 3, [0]]],
    ['a resolution unit of 0', [296, 3, [0]]],
    ['a resolution below 0', [282, 10, [-300]]],
  ] as const)('%s', async (_, tag) => {
    for (const big of [false, true]) {
      const file = tiffFile([{ ...page, tags: [tag] }], { big });
      expect(await pagesOf(Buffer.from(file))).toEqual([whole]);
      expect(await sizes(file)).toEqual(at96);
    }
  });

  it('on every page, and on a reduced copy in front of them', async () => {
    const odd = { ...page, tags: [[274, 3, [0]]] } as const;
    const copy = { ...page, tags: [...odd.tags, [254, 4, [1]]] } as const;
    expect(await pagesOf(tiffFile([copy, odd, odd]))).toEqual([whole, whole]);
  });

  const inks = 'Cyan\0Magenta\0Yellow\0Black\0';
  it.each([
    ['names of two inks of four', 4, [[333, 2, text('Cyan\0Magenta\0')]]],
    ['four inks beside a spot colour', 5, [[334, 3, [4]]]],
    ['names of four beside a spot colour', 5, [[333, 2, text(inks)]]],
    [
      'names of four for five inks',
      5,
      [
        [333, 2, text(inks)],
        [334, 3, [5]],
      ],
    ],
  ] as const)('%s, as programs of printers write them', async (_, samples, tags) => {
    const data = Buffer.from(Array.from({ length: width * height * samples }, (_, i) => (i * 7) & 255));
    const plan = { width, height, samples, photometric: 5, data };
    const extra = samples > 4 ? ([[338, 3, [0]]] as const) : [];
    const read = async (more: TiffPlan['tags']) =>
      readPictures((await convertBytes(decoders, tiffFile([{ ...plan, tags: [...extra, ...(more ?? [])] }]))).pdf);
    const [plain] = await read([]);
    const [found] = await read(tags);
    expect(found).toMatchObject({ colourSpace: 'DeviceCMYK' });
    expect(found!.rgba.equals(plain!.rgba)).toBe(true);
  });
});

describe('samples in separate planes', () => {
  // libvips joins those of RGB and CMYK, and takes others for rows of all samples: stripes.
  const kinds = [
    ['RGB', 2, 3, 8, [], 'drawn'],
    ['RGB with alpha', 2, 4, 8, [[338, 3, [2]]], 'drawn'],
    ['CMYK', 5, 4, 8, [], 'drawn'],
    ['CMYK of 16 bits with a spot colour', 5, 5, 16, [[338, 3, [0]]], 'drawn'],
    ['gray', 1, 1, 8, [], 'drawn'],
    ['gray with alpha', 1, 2, 8, [[338, 3, [2]]], 'unsupported_image'],
    ['gray of 16 bits with associated alpha', 1, 2, 16, [[338, 3, [1]]], 'unsupported_image'],
    ['CIE L*a*b* of 16 bits', 8, 3, 16, [], 'unsupported_image'],
    ['YCbCr', 6, 3, 8, [[530, 3, [1, 1]]], 'unsupported_image'],
  ] as const;
  it.each(kinds)('%s is right, or refused', async (_, photometric, samples, bits, tags, outcome) => {
    const bytes = bits / 8;
    const [joined, planes] = [0, 1].map(() => Buffer.alloc(width * height * samples * bytes)) as [Buffer, Buffer];
    for (let pixel = 0; pixel < width * height; pixel += 1) {
      for (let k = 0; k < samples; k += 1) {
        const value = (pixel * 5 + k * 60) & 255;
        joined.fill(value, (pixel * samples + k) * bytes, (pixel * samples + k + 1) * bytes);
        planes.fill(value, (k * width * height + pixel) * bytes, (k * width * height + pixel + 1) * bytes);
      }
    }
    const plan = { width, height, bits, samples, photometric };
    const planeBytes = width * height * bytes;
    const strips = Array.from({ length: samples }, (_, k) => 16 + k * planeBytes);
    const apart = tiffFile([
      {
        ...plan,
        data: planes,
        tags: [...tags, [284, 3, [2]], [273, 4, strips], [279, 4, strips.map(() => planeBytes)]],
      },
    ]);
    if (outcome !== 'drawn') return expect(convertBytes(decoders, apart)).rejects.toMatchObject({ code: outcome });
    const [expected] = await readPictures(
      (await convertBytes(decoders, tiffFile([{ ...plan, data: joined, tags }]))).pdf,
    );
    const [found] = await readPictures((await convertBytes(decoders, apart)).pdf);
    expect(found!.rgba.equals(expected!.rgba)).toBe(true);
  });
});

describe('what bears on the pixels is not', () => {
  const cut = (file: Buffer): Buffer => {
    // The pixels stand in front of the directory: fewer of them, while it stays where it is.
    const short = Buffer.from(file);
    short.writeUInt32LE(short.length - 40, short.indexOf(Buffer.from([0x11, 0x01, 4, 0])) + 8);
    return short;
  };
  it.each(['none', 'lzw', 'deflate', 'packbits', 'jpeg', 'ccittfax4'] as const)(
    'pixels cut short: %s',
    async (compression) => {
      const bilevel = compression === 'ccittfax4';
      const source = bilevel ? picture().toColourspace('b-w').threshold(120) : picture();
      const file = await source.tiff({ compression, ...(bilevel && { bitdepth: 1 as const }) }).toBuffer();
      await expect(convertBytes(decoders, file.subarray(0, file.length - 60))).rejects.toMatchObject({
        code: 'corrupt_image',
      });
      await expect(convertBytes(decoders, cut(file))).rejects.toMatchObject({ code: 'corrupt_image' });
    },
  );

  it('a damaged fax', async () => {
    const file = await sharp(await picture().resize(400).png().toBuffer())
      .toColourspace('b-w')
      .threshold(120)
      .tiff({ compression: 'ccittfax4', bitdepth: 1 })
      .toBuffer();
    const strip = 8 + ((file.readUInt32LE(4) - 8) >> 1);
    const outcomes = new Set<string>();
    for (let at = strip; at < strip + 20; at++) {
      const damaged = Buffer.from(file);
      damaged[at]! ^= 0x55;
      outcomes.add(
        await convertBytes(decoders, damaged).then(
          () => 'drawn',
          (error: unknown) => (error as { code: string }).code,
        ),
      );
    }
    expect([...outcomes]).toEqual(['corrupt_image']);
  });
});

describe('a sound file that is not decoded is unsupported_image, which is no fault of the client', () => {
  it.each([
    ['ZSTD', zstd(page)],
    ['LZMA', { ...page, tags: [[259, 3, [34_925]]] }],
    ['old JPEG', { ...page, tags: [[259, 3, [6]]] }],
    [
      'alpha among further samples',
      { ...page, samples: 5, photometric: 2, data: Buffer.alloc(width * height * 5), tags: [[338, 3, [2, 0]]] },
    ],
    [
      'a raw photo, whose pages hold a thumbnail alone',
      {
        ...page,
        tags: [
          [254, 4, [1]],
          [330, 4, [999_999]],
        ],
      },
    ],
    ['an unknown compression', { ...page, tags: [[259, 3, [40_000]]] }],
    [
      'tiles in separate planes',
      {
        ...page,
        tags: [
          [284, 3, [2]],
          [322, 4, [16]],
          [323, 4, [16]],
        ],
      },
    ],
  ] as const)('%s, and says what to do', async (_, plan) => {
    await expect(convertBytes(decoders, tiffFile([plan]))).rejects.toMatchObject({
      code: 'unsupported_image',
      message: expect.stringMatching(/is not decoded: save it/) as string,
    });
  });
});
