import sharp from 'sharp';
import { writeRestartingJpeg } from './jpeg-writer.ts';
import { chunk, writePng, type PngPlan } from './png-writer.ts';
import { seededRandom } from './random.ts';

/**
 * A small valid file of every kind the converter tells apart: what mutations start from. The same at every call, or a
 * seed would not do again what it did.
 */
export async function seedFiles(): Promise<{ readonly name: string; readonly bytes: Buffer }[]> {
  const files: { name: string; bytes: Buffer }[] = [];
  for (const [colourType, bits] of [
    [0, 1],
    [0, 8],
    [0, 16],
    [2, 8],
    [2, 16],
    [3, 2],
    [3, 8],
    [4, 8],
    [6, 8],
    [6, 16],
  ] as const) {
    const base: PngPlan = {
      width: 23,
      height: 17,
      colourType,
      bits,
      sample: (x, y, channel) => ((x * 7 + y * (channel + 3) + ((x * y) >> 1)) * 3) % 2 ** bits,
      idatBytes: 200,
      density: 150,
      middle: [chunk('tEXt', Buffer.from('Comment\0a text'))],
      ...(colourType === 3 && { palette: Buffer.from(Array.from({ length: 3 << bits }, (_, i) => (i * 37) & 255)) }),
    };
    files.push({ name: `png-${colourType}-${bits}`, bytes: writePng(base) });
    if (colourType === 3) {
      const transparency = Buffer.from(Array.from({ length: 1 << bits }, (_, i) => (i * 53) & 255));
      files.push({ name: `png-${colourType}-${bits}-trns`, bytes: writePng({ ...base, transparency }) });
    }
    if (bits === 8)
      files.push({ name: `png-${colourType}-interlaced`, bytes: writePng({ ...base, interlaced: true }) });
  }
  const random = seededRandom(48);
  const [width, height] = [48, 40];
  const colour = Buffer.from(
    Array.from({ length: width * height * 3 }, (_, i) => 60 + ((i * 3) % 96) + Math.floor(random() * 100)),
  );
  const picture = sharp(
    await sharp(colour, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
  const alpha = picture.clone().ensureAlpha(0.5);
  const jpeg = await picture.clone().jpeg({ quality: 80 }).withMetadata({ orientation: 6, density: 200 }).toBuffer();
  files.push(
    { name: 'jpeg', bytes: jpeg },
    { name: 'jpeg-progressive', bytes: await picture.clone().jpeg({ progressive: true }).toBuffer() },
    { name: 'jpeg-gray', bytes: await picture.clone().toColourspace('b-w').jpeg().toBuffer() },
    { name: 'jpeg-cmyk', bytes: await picture.clone().toColourspace('cmyk').jpeg().toBuffer() },
    {
      name: 'jpeg-restarting',
      bytes: writeRestartingJpeg({ columns: 9, rows: 7, interval: 5, level: (block) => (block * 67) & 255 }),
    },
    { name: 'webp', bytes: await alpha.clone().webp({ quality: 70 }).toBuffer() },
    { name: 'webp-lossless', bytes: await alpha.clone().webp({ lossless: true }).toBuffer() },
    { name: 'gif', bytes: await picture.clone().gif().toBuffer() },
    { name: 'tiff', bytes: await alpha.clone().tiff({ compression: 'lzw' }).toBuffer() },
    { name: 'tiff-deflate', bytes: await picture.clone().tiff({ compression: 'deflate' }).toBuffer() },
    { name: 'avif', bytes: await picture.clone().avif({ effort: 0 }).toBuffer() },
  );
  return files;
}
