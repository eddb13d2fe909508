import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { isRight, judge } from './support/judge-pdf.ts';
import { writePng } from './support/png-writer.ts';
import { DocumentJudges, missingRenderers } from './support/renderers.ts';

const decoders = startDecoders();
const judges = new DocumentJudges();
afterAll(() => Promise.all([decoders.close(), judges.close()]));

const missing = missingRenderers();
if (missing !== undefined) console.warn(`renderers: skipped, because ${missing}`);

describe.skipIf(missing !== undefined)('qpdf finds nothing wrong, poppler and MuPDF draw what sharp reads', () => {
  const sample = (name: string): Buffer => readFileSync(new URL(`../../../samples/${name}`, import.meta.url));
  const plain = {
    width: 53,
    height: 31,
    sample: (x: number, y: number, k: number) => (x * 3 + y * (k + 5)) & 1,
  } as const;

  it.each(['photo.jpg', 'scan.png'])('samples/%s, exactly', async (name) => {
    expect(await judge(sample(name), decoders, judges)).toSatisfy(isRight);
  });

  it('samples/screenshot.png, but for the rounding of its shadow over white', async () => {
    expect(await judge(sample('screenshot.png'), decoders, judges)).toSatisfy(isRight);
  });

  it.each([
    ['1-bit gray', writePng({ ...plain, colourType: 0, bits: 1 })],
    [
      '16-bit RGB',
      writePng({ ...plain, colourType: 2, bits: 16, sample: (x, y, k) => (x * 1201 + y * 977 * (k + 1)) & 65_535 }),
    ],
    [
      'palette',
      writePng({ ...plain, colourType: 3, bits: 2, palette: Buffer.from([9, 80, 200, 250, 3, 7, 90, 90, 1, 0, 0, 0]) }),
    ],
    ['interlaced', writePng({ ...plain, colourType: 2, bits: 8, interlaced: true })],
    ['a colour key', writePng({ ...plain, colourType: 2, bits: 8, transparency: Buffer.from([0, 1, 0, 1, 0, 1]) })],
  ])('%s, exactly', async (_, file) => {
    expect(await judge(file, decoders, judges)).toSatisfy(isRight);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('a JPEG of orientation %i, exactly', async (orientation) => {
    const file = await sharp(sample('photo.jpg')).resize(120).jpeg().withMetadata({ orientation }).toBuffer();
    expect(await judge(file, decoders, judges)).toSatisfy(isRight);
  });

  it('a document of several pages', async () => {
    const files = ['photo.jpg', 'screenshot.png', 'scan.png'].map(sample);
    expect(await judges.problems((await convertBytes(decoders, files)).pdf)).toBe('');
  });
});
