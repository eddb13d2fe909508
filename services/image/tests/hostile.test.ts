import zlib from 'node:zlib';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { fuzz, fuzzForMemory } from './fuzz.ts';
import { bombs } from './support/bombs.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { writeRestartingJpeg } from './support/jpeg-writer.ts';
import { chunk, rawPng, writePng } from './support/png-writer.ts';
import { writeTiff } from './support/tiff-writer.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

const code = (file: Buffer, limits = {}): Promise<string> =>
  convertBytes(decoders, file, {}, limits).then(
    () => 'converted',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );

const png = writePng({ width: 40, height: 30, colourType: 2, bits: 8, sample: (x, y, k) => (x * 5 + y * k) & 255 });
const plain = { width: 40, height: 30, colourType: 2, bits: 8, sample: (x: number) => x } as const;
const rgba = writePng({ width: 40, height: 30, colourType: 6, bits: 8, sample: (x, y, k) => (x * 5 + y * k) & 255 });
const jpeg = await sharp(png).jpeg().toBuffer();
const webp = await sharp(png).webp().toBuffer();
const rows = Buffer.alloc(30 * 121);

describe('a file of another kind is refused by its bytes', () => {
  it.each([
    ['SVG', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'],
    ['SVG with a prolog', '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'],
    ['text', 'hello, I am not a picture\n'],
    ['HTML', '<!doctype html><script>alert(1)</script>'],
    ['PDF', '%PDF-1.7\n%âãÏÓ\n'],
    ['a ZIP', 'PK\x03\x04rest'],
    ['BMP', 'BM\x36\x00\x00\x00'],
    ['HEIC', '\0\0\0\x18ftypheic\0\0\0\0mif1heic'],
    ['a signature and nothing more', '\x89PN'],
    ['nothing', ''],
  ])('%s', async (_, text) => {
    expect(await code(Buffer.from(text, 'latin1'))).toBe('unsupported_media_type');
  });
});

describe('a corrupt picture fails as corrupt_image', () => {
  const flip = (file: Buffer, at: number): Buffer => {
    const copy = Buffer.from(file);
    copy[at]! ^= 1;
    return copy;
  };
  it.each([
    ['PNG cut in half', png.subarray(0, png.length >> 1)],
    ['PNG without IEND', png.subarray(0, png.length - 12)],
    ['PNG, one bit of its pixels flipped', flip(png, 80)],
    ['PNG, one bit of a checksum flipped', flip(png, 30)],
    ['PNG with alpha cut in half', rgba.subarray(0, rgba.length >> 1)],
    ['PNG whose line ends were changed', Buffer.from(png.toString('latin1').replaceAll('\r\n', '\n'), 'latin1')],
    ['PNG without its eighth bit', png.map((byte) => byte & 0x7f) as Buffer],
    ['PNG of no width', rawPng(0, 30, 8, 2, zlib.deflateSync(rows))],
    ['PNG of 3 bits', rawPng(40, 30, 3, 2, zlib.deflateSync(rows))],
    [
      'broken zlib stream under a right checksum',
      rawPng(40, 30, 8, 2, Buffer.from([0x78, 0x9c, 1, 2, 3, 4, 5, 6, 7, 8])),
    ],
    ['zlib stream with a wrong checksum', rawPng(40, 30, 8, 2, flip(zlib.deflateSync(rows), 15))],
    ['a row too few', rawPng(40, 30, 8, 2, zlib.deflateSync(rows.subarray(121)))],
    ['a row too many', rawPng(40, 30, 8, 2, zlib.deflateSync(Buffer.concat([rows, rows.subarray(0, 121)])))],
    ['a row filter that does not exist', rawPng(40, 30, 8, 2, zlib.deflateSync(Buffer.alloc(rows.length, 5)))],
    ['palette picture without a palette', rawPng(40, 30, 8, 3, zlib.deflateSync(Buffer.alloc(30 * 41)))],
    [
      'chunk of 2 GB in a file of 200 bytes',
      Buffer.concat([
        png.subarray(0, 33),
        Buffer.from([0x7f, 0xff, 0xff, 0xff]),
        Buffer.from('IDAT'),
        Buffer.alloc(200),
      ]),
    ],
    ['unknown critical chunk', rawPng(40, 30, 8, 2, zlib.deflateSync(rows), [chunk('CgBI', Buffer.alloc(4))])],
    ['JPEG cut in half', jpeg.subarray(0, jpeg.length >> 1)],
    ['JPEG without its last rows and its end', jpeg.subarray(0, jpeg.length - 12)],
    ['JPEG of nothing but a header', jpeg.subarray(0, 200)],
    [
      'JPEG with an unknown segment',
      Buffer.concat([jpeg.subarray(0, 2), Buffer.from([255, 0xa2, 0, 2]), jpeg.subarray(2)]),
    ],
    ['JPEG without its Huffman tables, which were not the standard ones', withoutSegments(jpeg, 0xc4)],
    ['JPEG without quantisation tables', withoutSegments(jpeg, 0xdb)],
    ['JPEG whose components differ by half a step', withSampling(0x32)],
    ['JPEG of more blocks than a unit may have', withSampling(0x44)],
    ['JPEG of more rows than it has data for', taller(jpeg)],
    ['JPEG with restarts, two of which are cut out', withoutRestarts()],
    ['WebP cut in half', webp.subarray(0, 60)],
    ['TIFF of a header', Buffer.from('II*\0\x08\0\0\0', 'latin1')],
    ['GIF of a header', Buffer.from('GIF89a\x10\0\x10\0\x80\0\0', 'latin1')],
  ])('%s', async (_, file) => {
    expect(await code(file)).toBe('corrupt_image');
  });

  function taller(file: Buffer): Buffer {
    const copy = Buffer.from(file);
    copy.writeUInt16BE(20_000, copy.indexOf(Buffer.from([0xff, 0xc0])) + 5);
    return copy;
  }

  // Eight at once would count round, were they not counted.
  function withoutRestarts(): Buffer {
    const file = writeRestartingJpeg({ columns: 9, rows: 7, interval: 5, level: (block) => block * 4 });
    const restart = (n: number): number => file.lastIndexOf(Buffer.from([0xff, 0xd0 + n]));
    return Buffer.concat([file.subarray(0, restart(2)), file.subarray(file.length - 2)]);
  }

  function withSampling(ofFirstComponent: number): Buffer {
    const file = Buffer.from(jpeg);
    const frame = file.indexOf(Buffer.from([0xff, 0xc0]));
    file[frame + 11] = ofFirstComponent;
    file[frame + 14] = ofFirstComponent === 0x32 ? 0x21 : 0x11;
    return file;
  }

  function withoutSegments(file: Buffer, marker: number): Buffer {
    const kept = [file.subarray(0, 2)];
    let at = 2;
    while (file[at + 1] !== 0xda) {
      const end = at + 2 + file.readUInt16BE(at + 2);
      if (file[at + 1] !== marker) kept.push(file.subarray(at, end));
      at = end;
    }
    return Buffer.concat([...kept, file.subarray(at)]);
  }
});

describe('a PNG that is decoded is held to the same as one that is copied', () => {
  const file = writePng({ ...plain, interlaced: true, early: [chunk('tEXt', Buffer.from('Comment\0a text'))] });
  const flip = (at: number): Buffer => {
    const copy = Buffer.from(file);
    copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
    return copy;
  };
  it.each([
    ['whole', file, 'converted'],
    ['with bytes behind its end', Buffer.concat([file, Buffer.alloc(300_000)]), 'converted'],
    ['without IEND', file.subarray(0, -12), 'corrupt_image'],
    ['without the last byte', file.subarray(0, -1), 'corrupt_image'],
    ['with a wrong checksum at its end', flip(file.length - 1), 'corrupt_image'],
    ['with a wrong checksum of its text', flip(33 + 8 + 10), 'converted'],
  ])('%s: %s', async (_, bytes, ends) => {
    expect(await code(bytes)).toBe(ends);
    expect(decoders.counts.ended).toMatchObject({ memory: 0, time: 0, abandoned: 0, crash: 0 });
  });
});

describe('a bomb is refused before it unfolds', () => {
  it.each(bombs)('$name', async ({ bytes, ends }) => {
    const before = process.memoryUsage.rss();
    expect(await code(bytes)).toBe(ends);
    expect(process.memoryUsage.rss() - before).toBeLessThan(100e6);
  });

  it.each(['zTXt', 'iTXt', 'iCCP'])('%s that says it is compressed and is not is no bomb', async (type) => {
    const data = Buffer.concat([Buffer.from('p\0\0\0', 'latin1'), Buffer.alloc(200_000, 97)]);
    expect(await code(writePng({ ...plain, early: [chunk(type, data)] }))).toBe('converted');
    expect(await code(writePng({ ...plain, early: [chunk(type, Buffer.alloc(200_000, 97))] }))).toBe('converted');
  });

  it('the text of a file that editors have bloated is no bomb, and its picture is drawn', async () => {
    const text = Buffer.from(
      Array.from({ length: 400_000 }, (_, i) => `<rdf:li>${(i * 7919) % 1e6}</rdf:li>`).join(''),
    );
    const xmp = Buffer.concat([Buffer.from('XML:com.adobe.xmp\0\x01\0\0\0', 'latin1'), zlib.deflateSync(text)]);
    const file = writePng({ ...plain, early: [chunk('iTXt', xmp), chunk('zTXt', xmp)], late: [chunk('iTXt', xmp)] });
    expect(await code(file)).toBe('converted');
  });

  it('more bytes than allowed: payload_too_large, though its size was given as less', async () => {
    expect(await code(png, { maxInputBytes: 500 })).toBe('payload_too_large');
    const lying = { name: 'picture', sizeBytes: 10, open: () => Promise.resolve(pieces(png)) };
    const result = convertBytes(decoders, [lying], {}, { maxInputBytes: 500 });
    await expect(result).rejects.toMatchObject({ code: 'payload_too_large' });
  });

  async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
  }

  it('more pages than allowed', async () => {
    await expect(convertBytes(decoders, [png, png, png], {}, { maxPages: 2 })).rejects.toMatchObject({
      code: 'image_too_large',
    });
  });

  it('more pages than allowed, a few in each of several files', async () => {
    const page = { width: 4, height: 4, sample: () => 7 };
    const tiff = writeTiff([page, page, page]);
    for (const files of [
      [tiff, tiff],
      [tiff, png, png],
      [png, png, tiff],
    ]) {
      expect((await convertBytes(decoders, files, {}, { maxPages: 6 })).pictures.length).toBeGreaterThan(4);
      await expect(convertBytes(decoders, files, {}, { maxPages: 4 })).rejects.toMatchObject({
        code: 'image_too_large',
      });
    }
  });
});

// A run of 10,000 is `FUZZ_FILES=10000 vitest run services/image/tests/hostile.test.ts`.
describe('damaged files, each from its own seed', () => {
  const files = Number(process.env['FUZZ_FILES'] ?? 300);
  const timeoutMs = 30_000 + files * 50;

  it(
    `${files} of them: the picture that sharp reads from the same bytes, or an error; never a crash or a hang`,
    async () => {
      const report = await fuzz(decoders, 1, files);
      expect(report.faults).toEqual([]);
      expect(report.drawn).toBeGreaterThan(files / 10);
      expect(report.copiedUnreadable).toBeLessThanOrEqual(files / 1000);
      expect(Object.keys(report.refused).toSorted()).toEqual(expect.arrayContaining(['corrupt_image']));
      expect(decoders.counts.ended).toMatchObject({ memory: 0, time: 0, crash: 0 });
    },
    timeoutMs,
  );

  it(
    `${files} of them with VERIFY_JPEG: of those that become a PDF, sharp refuses none`,
    async () => {
      const report = await fuzz(decoders, 1, files, { verifyJpeg: true });
      expect(report.faults).toEqual([]);
      expect(report).toMatchObject({ drawnDamaged: 0, copiedUnreadable: 0 });
      expect(report.drawn).toBeGreaterThan(files / 10);
      expect(decoders.counts.ended).toMatchObject({ memory: 0, time: 0, crash: 0 });
    },
    timeoutMs,
  );

  it(
    'take no memory with them: service and decoders grow by less than 64 MB after the first fifth',
    async () => {
      const { warmBytes, endBytes } = await fuzzForMemory(decoders, 1, files);
      expect(endBytes - warmBytes).toBeLessThan(64e6);
    },
    timeoutMs,
  );
});
