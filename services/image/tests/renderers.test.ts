import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { isRight, judge } from './support/judge-pdf.ts';
import { adobeRgb } from './support/matrix-profile.ts';
import { iccProfile } from './support/picture.ts';
import { writePng } from './support/png-writer.ts';
import { tiffFile } from './support/tiff-writer.ts';
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

describe.skipIf(missing !== undefined)(
  '16 bits with a profile are drawn in the colours that the profile says',
  async () => {
    // What lcms makes of four colours in sRGB, by relative colorimetric intent. MuPDF of Debian ignores profiles.
    const samples = [
      [200, 100, 50],
      [128, 128, 128],
      [255, 255, 255],
      [150, 160, 140],
    ];
    const [width, height] = [8 * samples.length, 8];
    const data = Buffer.alloc(width * height * 6);
    for (let i = 0; i < width * height * 3; i += 1) {
      data.writeUInt16LE((samples[Math.floor(((i / 3) % width) / 8)]?.[i % 3] ?? 0) * 257, i * 2);
    }
    it.each([
      ['sRGB', await iccProfile('srgb'), samples],
      [
        'Display P3',
        await iccProfile('p3'),
        [
          [215, 93, 32],
          [128, 128, 128],
          [255, 255, 255],
          [148, 160, 137],
        ],
      ],
      [
        'Adobe RGB',
        adobeRgb,
        [
          [227, 100, 42],
          [129, 129, 129],
          [255, 255, 255],
          [146, 161, 140],
        ],
      ],
    ])('%s: kept, encoded again, and stripped', async (_, profile, drawn) => {
      const file = tiffFile([{ width, height, data, bits: 16, samples: 3, tags: [[34_675, 7, [...profile]]] }]);
      for (const options of [{}, { quality: 'low' }, { stripMetadata: true }] as const) {
        const pixels = await judges.draw('poppler', (await convertBytes(decoders, file, options)).pdf, width, height);
        drawn.forEach((colour, i) => {
          const at = (4 * width + 8 * i + 4) * 3;
          const found = [...pixels.subarray(at, at + 3)];
          expect(Math.max(...found.map((level, k) => Math.abs(level - colour[k]!)))).toBeLessThanOrEqual(2);
        });
      }
    });
  },
);
