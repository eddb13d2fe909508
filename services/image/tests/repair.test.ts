// Files that break their standard in a way every reader overlooks: drawn as others draw them, and put right in the PDF.
import zlib from 'node:zlib';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { largestDifference, sharpReading } from './support/compare.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { readPictures } from './support/pdf-reader.ts';
import { height, iccProfile, picture, rgbSamples, width } from './support/picture.ts';
import { chunk, rawPng, writePng, type PngPlan } from './support/png-writer.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

/** How far the PDF is from what a reader that overlooks the fault draws. */
async function difference(file: Buffer, options = {}, verifyJpeg = false): Promise<number> {
  const { pdf } = await convertBytes(decoders, file, options, {}, { verifyJpeg });
  return largestDifference((await readPictures(pdf))[0]!, await sharpReading(file, 'none'));
}

interface Segment {
  readonly code: number;
  readonly bytes: Buffer;
}

/** The segments of a JPEG up to its first scan header, and everything behind. */
function taken(file: Buffer): { readonly segments: readonly Segment[]; readonly data: Buffer } {
  const segments: Segment[] = [];
  for (let at = 2; ;) {
    const code = file[at + 1]!;
    const end = at + 2 + file.readUInt16BE(at + 2);
    segments.push({ code, bytes: file.subarray(at, end) });
    at = end;
    if (code === 0xda) return { segments, data: file.subarray(at) };
  }
}
const put = (segments: readonly Buffer[], data: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0xff, 0xd8]), ...segments, data]);

describe('JPEG', async () => {
  const source = picture();
  // Standard tables: what a decoder assumes where there are none.
  const plain = await source.clone().jpeg({ optimiseCoding: false }).toBuffer();
  const progressive = await source.clone().jpeg({ progressive: true }).toBuffer();
  const { segments, data } = taken(plain);
  const all = segments.map(({ bytes }) => bytes);
  const stray = Buffer.from([0, 0, 0x41, 0xff, 0]);

  const withZeros = Buffer.from(all.at(-1)!);
  withZeros.fill(0, withZeros.length - 3);
  const repaired = [
    ['a sequential scan with zeros for its coefficients (phones)', put([...all.slice(0, -1), withZeros], data)],
    [
      'no Huffman tables (webcams)',
      put(
        segments.filter(({ code }) => code !== 0xc4).map(({ bytes }) => bytes),
        data,
      ),
    ],
    ['bytes between segments', put([all[0]!, stray, ...all.slice(1)], data)],
    ['fill bytes between segments', put([all[0]!, Buffer.alloc(9, 0xff), ...all.slice(1)], data)],
    ['no EOI', plain.subarray(0, -2)],
    ['half of EOI', plain.subarray(0, -1)],
    ['no EOI, progressive', progressive.subarray(0, -2)],
  ] as const;

  it.each(repaired)('%s: copied', async (_, file) => {
    expect(await difference(file)).toBe(0);
    expect(await difference(file, {}, true)).toBe(0);
  });

  it.each(repaired)('%s: the JPEG in the PDF is whole for the strictest reader', async (_, file) => {
    const { pdf, path } = await convertBytes(decoders, file);
    expect(path).toBe('passthrough');
    const copied = pdf.subarray(
      pdf.indexOf(Buffer.from([0xff, 0xd8, 0xff])),
      pdf.lastIndexOf(Buffer.from([0xff, 0xd9])) + 2,
    );
    await expect(sharpReading(copied)).resolves.toMatchObject({ width, height });
  });

  it.each(repaired)('%s: decoded, too', async (_, file) => {
    const { path, pdf } = await convertBytes(decoders, file, { quality: 'low', maxWidth: 24 });
    expect(path).toBe('decode');
    expect((await readPictures(pdf))[0]).toMatchObject({ width: 24, height: 16 });
  });

  it.each([
    ['sequential', plain],
    ['progressive', progressive],
    [
      'two restarts',
      await sharp(rgbSamples(), { raw: { width, height, channels: 3 } })
        .resize(400)
        .jpeg()
        .toBuffer(),
    ],
  ])('%s, cut short anywhere in its pixels: corrupt', async (_, file) => {
    const from = file.length - taken(file).data.length;
    for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
      const cut = file.subarray(0, from + Math.floor((file.length - from) * share));
      for (const options of [{}, { quality: 'low' }] as const) {
        await expect(convertBytes(decoders, cut, options)).rejects.toMatchObject({ code: 'corrupt_image' });
      }
    }
  });

  it('of 12 bits: unsupported_image', async () => {
    const file = Buffer.from(plain);
    file[file.indexOf(Buffer.from([0xff, 0xc0])) + 4] = 12;
    for (const options of [{}, { quality: 'low' }] as const) {
      await expect(convertBytes(decoders, file, options)).rejects.toMatchObject({ code: 'unsupported_image' });
    }
  });
});

describe('PNG', async () => {
  const rgb = rgbSamples();
  const plan: PngPlan = {
    width,
    height,
    colourType: 2,
    bits: 8,
    sample: (x, y, k) => rgb[(y * width + x) * 3 + k] as number,
  };
  const palette = Buffer.from([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9]);
  const indexed: PngPlan = { width, height, colourType: 3, bits: 2, palette, sample: (x, y) => (x + y) & 3 };
  const profile = Buffer.concat([Buffer.from('p\0\0', 'latin1'), zlib.deflateSync(await iccProfile('srgb'))]);
  const iccp = chunk('iCCP', profile);
  const broken = (bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes);
    copy[copy.length - 1]! ^= 1;
    return copy;
  };
  const rows = Buffer.alloc(height * (width * 3 + 1));
  for (let y = 0; y < height; y++) rgb.copy(rows, y * (width * 3 + 1) + 1, y * width * 3, (y + 1) * width * 3);
  const behind = (bytes: Buffer): Buffer => rawPng(width, height, 8, 2, Buffer.concat([zlib.deflateSync(rows), bytes]));

  describe.each([false, true])('interlaced: %s', (interlaced) => {
    it.each([
      ['a profile behind the palette', { ...indexed, middle: [iccp] }],
      ['a profile behind the pixels', { ...plan, late: [iccp] }],
      ['transparency behind the pixels', { ...plan, late: [chunk('tRNS', Buffer.alloc(6))] }],
      ['a wrong checksum of a text', { ...plan, early: [broken(chunk('tEXt', Buffer.from('Comment\0text')))] }],
      [
        'a wrong checksum of its density',
        { ...plan, early: [broken(chunk('pHYs', Buffer.from('\0\0\x2e\x23\0\0\x2e\x23\x01', 'latin1')))] },
      ],
      ['a wrong checksum behind its pixels', { ...plan, late: [broken(chunk('tEXt', Buffer.from('Comment\0text')))] }],
    ] as const)('%s: drawn without it', async (_, file) => {
      const bytes = writePng({ ...(file as PngPlan), interlaced });
      expect(await difference(bytes)).toBe(0);
      const { pdf } = await convertBytes(decoders, bytes);
      expect((await readPictures(pdf))[0]?.page).toMatchObject({ width: 36, height: 24 });
    });
  });

  it('with a wrong checksum of its transparency: corrupt, or another picture would be drawn', async () => {
    const file = writePng({ ...plan, middle: [broken(chunk('tRNS', Buffer.from([0, 255, 0, 0, 0, 0])))] });
    await expect(convertBytes(decoders, file)).rejects.toMatchObject({ code: 'corrupt_image' });
  });

  it.each([
    ['a few', Buffer.from('canary')],
    ['a byte', Buffer.from('!')],
    ['half a megabyte', Buffer.alloc(500_000, 'canary')],
  ])('%s bytes behind the zlib stream: drawn, and they stay behind', async (_, bytes) => {
    const file = behind(bytes);
    expect(await difference(file)).toBe(0);
    const { pdf, path } = await convertBytes(decoders, file);
    expect(path).toBe('passthrough');
    expect(pdf.includes('canary')).toBe(false);
    const stream = pdf.indexOf(zlib.deflateSync(rows));
    expect(pdf.subarray(stream + zlib.deflateSync(rows).length).toString('latin1')).toMatch(/^\nendstream/);
  });

  it('bytes behind the zlib stream of a picture with alpha, and of a palette with transparency', async () => {
    for (const file of [
      rawPng(1, 1, 8, 6, Buffer.concat([zlib.deflateSync(Buffer.from([0, 1, 2, 3, 4])), Buffer.from('canary')])),
      rawPng(1, 1, 8, 3, Buffer.concat([zlib.deflateSync(Buffer.from([0, 0])), Buffer.from('canary')]), [
        chunk('PLTE', Buffer.from([1, 2, 3])),
        chunk('tRNS', Buffer.from([77])),
      ]),
    ]) {
      const { pdf, path } = await convertBytes(decoders, file);
      expect(path).toBe('split');
      expect(pdf.includes('canary')).toBe(false);
      expect((await readPictures(pdf))[0]?.rgba.subarray(0, 3).toString('hex')).toBe('010203');
    }
  });

  it('bytes behind the zlib stream that end too early: corrupt', async () => {
    const file = behind(Buffer.alloc(500_000));
    await expect(convertBytes(decoders, file.subarray(0, -300_000))).rejects.toMatchObject({ code: 'corrupt_image' });
  });
});

describe('GIF', () => {
  const frames = Buffer.concat([rgbSamples(), rgbSamples().map((value) => 255 - value)]);
  it('whose later frame is broken: its first is the page', async () => {
    const file = await sharp(frames, { raw: { width, height: height * 2, channels: 3, pageHeight: height } })
      .gif()
      .toBuffer();
    const whole = await convertBytes(decoders, file);
    const first = file.indexOf(Buffer.from([0x21, 0xf9]), file.indexOf(Buffer.from([0x21, 0xf9])) + 8);
    for (const cut of [first, first + 12, first + 40, file.length - 20]) {
      expect((await convertBytes(decoders, file.subarray(0, cut))).sha256).toBe(whole.sha256);
    }
    const damaged = Buffer.from(file);
    damaged.fill(0xff, first + 20);
    expect((await convertBytes(decoders, damaged)).sha256).toBe(whole.sha256);
  });

  it('whose first frame is cut short: corrupt', async () => {
    const file = await picture().gif().toBuffer();
    await expect(convertBytes(decoders, file.subarray(0, -100))).rejects.toMatchObject({ code: 'corrupt_image' });
  });
});

describe('AVIF', () => {
  it('a sequence: the still image in it', async () => {
    const file = await picture().avif({ lossless: true, effort: 0 }).toBuffer();
    const sequence = Buffer.from(file);
    sequence.write('avis', 8, 'latin1');
    expect(await convertBytes(decoders, sequence, { quality: 'lossless' })).toMatchObject({
      path: 'decode',
      width,
      height,
    });
  });
});
