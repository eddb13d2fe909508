import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PageSource } from '../src/convert/byte-reader.ts';
import { largestDifference, sharpReading } from './support/compare.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { readPictures } from './support/pdf-reader.ts';
import { chunk, writePng } from './support/png-writer.ts';
import { writeTiff } from './support/tiff-writer.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

const sample = (name: string): Promise<Buffer> => readFile(new URL(`../../../samples/${name}`, import.meta.url));

/** A small picture with something to see in every corner. */
const picture = (width = 60, height = 40): Promise<Buffer> =>
  sharp(Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + (i % 11) * 13) & 255)), {
    raw: { width, height, channels: 3 },
  })
    .blur(1)
    .png()
    .toBuffer();

async function drawn(file: Buffer, options: Parameters<typeof convertBytes>[2] = {}) {
  const conversion = await convertBytes(decoders, file, options);
  const [first] = await readPictures(conversion.pdf);
  if (!first) throw new Error('no picture');
  return { ...conversion, drawn: first };
}

describe('a JPEG is copied', () => {
  it.each(['jpeg', 'progressive', 'gray', 'cmyk', 'no chroma subsampling'])(
    '%s: drawn as sharp reads it',
    async (kind) => {
      const source = sharp(await picture());
      const file = await {
        jpeg: () => source.jpeg(),
        progressive: () => source.jpeg({ progressive: true }),
        gray: () => source.toColourspace('b-w').jpeg(),
        cmyk: () => source.toColourspace('cmyk').jpeg(),
        'no chroma subsampling': () => source.jpeg({ chromaSubsampling: '4:4:4' }),
      }[kind]!().toBuffer();
      const { path, drawn: result } = await drawn(file);
      expect({ path, difference: largestDifference(result, await sharpReading(file)) }).toEqual({
        path: 'passthrough',
        difference: 0,
      });
    },
  );

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'turned as EXIF orientation %i says, without being decoded',
    async (orientation) => {
      const file = await sharp(await picture())
        .jpeg()
        .withMetadata({ orientation })
        .toBuffer();
      const { path, width, height, drawn: result } = await drawn(file);
      expect(path).toBe('passthrough');
      expect([width, height]).toEqual(orientation > 4 ? [40, 60] : [60, 40]);
      expect(largestDifference(result, await sharpReading(file))).toBe(0);
    },
  );

  it('with the names of its components as colours, where nothing else tells them', async () => {
    const file = await sharp(await picture())
      .jpeg({ chromaSubsampling: '4:4:4' })
      .toBuffer();
    const named = Buffer.from(file);
    const frame = named.indexOf(Buffer.from([0xff, 0xc0]));
    const scan = named.indexOf(Buffer.from([0xff, 0xda]));
    for (const [index, letter] of Buffer.from('RGB').entries()) {
      named[frame + 10 + index * 3] = letter;
      named[scan + 5 + index * 2] = letter;
    }
    // A JFIF marker would mean YCbCr.
    expect(named.includes('JFIF')).toBe(false);
    const { path, pdf, drawn: result } = await drawn(named);
    expect(path).toBe('passthrough');
    expect(largestDifference(result, await sharpReading(named))).toBe(0);
    expect(largestDifference(result, await sharpReading(file))).toBeGreaterThan(50);
    expect(pdf.includes('\xff\xee\0\x0eAdobe', 0, 'latin1')).toBe(true);
    expect((await drawn(file)).pdf.includes('Adobe')).toBe(false);
  });

  it('without its EXIF, place and time included, its comments, and anything behind its end', async () => {
    const file = await sharp(await picture())
      .jpeg()
      .withExif({ IFD0: { Copyright: 'canary-exif' }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1' } })
      .toBuffer();
    const comment = Buffer.from('\xff\xfe\x00\x10canary-comment', 'latin1');
    const dressed = Buffer.concat([file.subarray(0, 2), comment, file.subarray(2), Buffer.from('<script>canary')]);
    const { pdf } = await drawn(dressed);
    expect(file.includes('canary-exif')).toBe(true);
    expect(pdf.includes('canary')).toBe(false);
    expect(pdf.includes('Exif')).toBe(false);
  });

  it('with its colour profile as the PDF knows it', async () => {
    const file = await sharp(await picture())
      .jpeg()
      .withIccProfile('p3')
      .toBuffer();
    const { pdf, path } = await drawn(file);
    expect(path).toBe('passthrough');
    expect(pdf.includes('/ICCBased')).toBe(true);
    expect(pdf.includes('ICC_PROFILE')).toBe(false);
  });
});

describe('a PNG is copied', () => {
  it('without its text, and anything behind IEND', async () => {
    const file = writePng({
      width: 9,
      height: 9,
      colourType: 2,
      bits: 8,
      sample: (x, y) => x * y,
      early: [chunk('tEXt', Buffer.from('Author\0canary')), chunk('eXIf', Buffer.from('canary'))],
      late: [chunk('tEXt', Buffer.from('Later\0canary'))],
    });
    const { pdf, path } = await drawn(Buffer.concat([file, Buffer.from('<script>canary</script>')]));
    expect(path).toBe('passthrough');
    expect(pdf.includes('canary')).toBe(false);
  });

  it('with its colour profile, which is inflated once to be checked and then copied, too', async () => {
    const file = await sharp(await picture())
      .png()
      .withIccProfile('p3')
      .toBuffer();
    const { pdf, path } = await drawn(file);
    expect(path).toBe('passthrough');
    expect(pdf.includes('/ICCBased')).toBe(true);
  });

  it('turned as the orientation in its EXIF says', async () => {
    const file = await sharp(await picture())
      .png()
      .withMetadata({ orientation: 8 })
      .toBuffer();
    const { path, drawn: result } = await drawn(file);
    expect(path).toBe('passthrough');
    expect(largestDifference(result, await sharpReading(file))).toBe(0);
  });
});

describe('what cannot be copied is decoded', () => {
  it.each(['webp', 'gif', 'tiff', 'tiff 16 bit', 'tiff black and white', 'avif'])(
    '%s: drawn as sharp reads it',
    async (kind) => {
      const opaque = await picture();
      const source = sharp(opaque).ensureAlpha(kind === 'webp' || kind === 'tiff' ? 0.4 : 1);
      const file = await {
        webp: () => source.webp({ lossless: true }),
        gif: () => source.gif(),
        tiff: () => source.tiff({ compression: 'lzw' }),
        'tiff 16 bit': () => source.toColourspace('rgb16').tiff(),
        'tiff black and white': () =>
          sharp(opaque).toColourspace('b-w').threshold(120).tiff({ bitdepth: 1, compression: 'ccittfax4' }),
        avif: () => source.avif({ effort: 0 }),
      }[kind]!().toBuffer();
      const { path, drawn: result } = await drawn(file, { quality: 'lossless' });
      expect({ path, difference: largestDifference(result, await sharpReading(file)) }).toEqual({
        path: 'decode',
        difference: 0,
      });
    },
  );

  it('a TIFF of several pages becomes as many, each of its own size', async () => {
    const file = writeTiff([
      { width: 30, height: 20, sample: (x, y) => x * y },
      { width: 10, height: 40, sample: (x, y) => x + y },
    ]);
    const { pdf, pictures: drawn, pageCount } = await convertBytes(decoders, file);
    const pictures = await readPictures(pdf);
    expect(pageCount).toBe(2);
    expect(drawn.map(({ width, height }) => [width, height])).toEqual([
      [30, 20],
      [10, 40],
    ]);
    expect(pictures[0]?.rgba[(3 * 30 + 5) * 4]).toBe(15);
    expect(pictures[1]?.rgba[(39 * 10 + 9) * 4]).toBe(48);
  });

  it('a lossy WebP or AVIF becomes JPEG of a high quality, which is a tenth of keeping its noise', async () => {
    const source = sharp(await sample('photo.jpg')).resize(400);
    for (const file of [await source.clone().webp().toBuffer(), await source.clone().avif({ effort: 0 }).toBuffer()]) {
      const automatic = await drawn(file);
      const kept = await drawn(file, { quality: 'lossless' });
      expect(automatic.pdf.includes('/DCTDecode')).toBe(true);
      expect(automatic.outputBytes).toBeLessThan(kept.outputBytes);
      expect(largestDifference(kept.drawn, await sharpReading(file))).toBe(0);
    }
  });
});

describe('options', () => {
  let photo: Buffer;
  beforeAll(async () => {
    photo = await sample('photo.jpg');
  });

  it('quality low: encoded again, smaller', async () => {
    const png = await sharp(photo).resize(300).png().toBuffer();
    const low = await drawn(png, { quality: 'low' });
    const high = await drawn(png, { quality: 'high' });
    const kept = await drawn(png, { quality: 'auto' });
    expect(low.path).toBe('decode');
    expect(kept.path).toBe('passthrough');
    expect(low.outputBytes).toBeLessThan(high.outputBytes);
    expect(high.outputBytes).toBeLessThan(kept.outputBytes);
  });

  it('quality low keeps a page of text as it is: JPEG would be larger, and blurred', async () => {
    expect((await drawn(await sample('scan.png'), { quality: 'low' })).path).toBe('passthrough');
  });

  it('quality high copies a JPEG: encoding it again could only lose', async () => {
    expect((await drawn(photo, { quality: 'high' })).path).toBe('passthrough');
  });

  it('quality low lays what is transparent over white', async () => {
    const png = await sharp({
      create: { width: 40, height: 40, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer();
    const noisy = await sharp(png)
      .composite([{ input: await picture(20, 20), left: 0, top: 0 }])
      .png()
      .toBuffer();
    const { drawn: result, pdf } = await drawn(noisy, { quality: 'high' });
    expect(pdf.includes('/DCTDecode')).toBe(true);
    expect([...result.rgba.subarray((39 * 40 + 39) * 4, (39 * 40 + 39) * 4 + 3)]).toEqual([255, 255, 255]);
  });

  it('maxWidth and maxHeight: scaled down, proportions kept; never up', async () => {
    expect(await drawn(photo, { maxWidth: 320 })).toMatchObject({ path: 'decode', width: 320, height: 213 });
    expect(await drawn(photo, { maxWidth: 4000, maxHeight: 4000 })).toMatchObject({ path: 'passthrough', width: 1600 });
  });

  it('stripMetadata: the density is ignored, and a picture with a profile is copied all the same', async () => {
    const file = await sharp(await picture())
      .png()
      .withIccProfile('p3')
      .withMetadata({ density: 300 })
      .toBuffer();
    const stripped = await drawn(file, { stripMetadata: true });
    expect(stripped.path).toBe('passthrough');
    expect(stripped.drawn.page.width).toBe(45);
  });

  it('pageSize image: as large as the picture is at its density, 96 pixels an inch when it says nothing credible', async () => {
    const at = async (density: number) =>
      (
        await drawn(
          await sharp(await picture(300, 150))
            .png()
            .withMetadata({ density })
            .toBuffer(),
        )
      ).drawn.page;
    expect(await at(300)).toMatchObject({ width: 72, height: 36 });
    expect(await at(25)).toMatchObject({ width: 225, height: 112.5 });
  });

  it('pageSize a4 and letter: the sheet turned as the picture, which is fitted and centred', async () => {
    expect((await drawn(photo, { pageSize: 'a4' })).drawn.page).toMatchObject({ width: 841.89, height: 595.28 });
    expect((await drawn(await picture(20, 40), { pageSize: 'letter' })).drawn.page).toMatchObject({
      width: 612,
      height: 792,
    });
  });

  it('a picture wider than 200 inches scales the unit of its page', async () => {
    const strip = writePng({ width: 30_000, height: 2, colourType: 0, bits: 1, sample: (x) => x & 1 });
    expect((await drawn(strip)).drawn.page).toMatchObject({ userUnit: 2, width: 11_250 });
  });
});

describe('the document', () => {
  it('has a page for each picture, in order, on every path', async () => {
    const files = [
      await sample('photo.jpg'),
      await sample('screenshot.png'),
      await sample('scan.png'),
      await sharp(await picture())
        .gif()
        .toBuffer(),
    ];
    const result = await convertBytes(decoders, files);
    const pictures = await readPictures(result.pdf);
    expect(result.path).toBe('mixed');
    expect(result.pictures.map(({ path }) => path)).toEqual(['passthrough', 'split', 'passthrough', 'decode']);
    for (const [index, file] of files.entries()) {
      expect(largestDifference(pictures[index]!, await sharpReading(file))).toBe(0);
    }
    expect(result.inputBytes).toBe(files.reduce((sum, file) => sum + file.length, 0));
    expect(result.outputBytes).toBe(result.pdf.length);
  });

  it.each(['photo.jpg', 'screenshot.png', 'scan.png'])('of %s is the same however its bytes arrive', async (name) => {
    const bytes = await sample(name);
    const whole = await convertBytes(decoders, [inPieces(bytes, bytes.length)]);
    for (const pieceBytes of [1000, 4099, 65_536]) {
      expect((await convertBytes(decoders, [inPieces(bytes, pieceBytes)])).sha256).toBe(whole.sha256);
    }
  });

  it('of a tiny file is the same when its bytes arrive one by one', async () => {
    for (const file of [
      await sharp(await picture())
        .jpeg({ progressive: true })
        .toBuffer(),
      await picture(),
    ]) {
      const whole = await convertBytes(decoders, file);
      expect((await convertBytes(decoders, [inPieces(file, 1)])).sha256).toBe(whole.sha256);
    }
  });

  it('holds no script, action, link, form or date', async () => {
    const { pdf } = await convertBytes(decoders, [await sample('photo.jpg'), await sample('screenshot.png')]);
    const outside = pdf.toString('latin1').replaceAll(/\nstream\n[^]*?\nendstream/g, '');
    expect(outside).not.toMatch(
      /JavaScript|\/JS\b|\/AA\b|OpenAction|\/URI|\/Annots|AcroForm|\/Launch|CreationDate|D:\d{4}/,
    );
  });
});

function inPieces(bytes: Buffer, pieceBytes: number): PageSource {
  return {
    name: 'picture',
    sizeBytes: bytes.length,
    open: async () =>
      (async function* () {
        for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
      })(),
  };
}
