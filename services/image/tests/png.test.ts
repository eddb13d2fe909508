import { afterAll, describe, expect, it } from 'vitest';
import { largestDifference, sharpReading } from './support/compare.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { readPictures } from './support/pdf-reader.ts';
import { writePng, type PngPlan } from './support/png-writer.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

// Every format that PNG has, in a size that ends in the middle of a byte and of an interlace pass.
const formats = [
  [0, 1],
  [0, 2],
  [0, 4],
  [0, 8],
  [0, 16],
  [2, 8],
  [2, 16],
  [3, 1],
  [3, 2],
  [3, 4],
  [3, 8],
  [4, 8],
  [4, 16],
  [6, 8],
  [6, 16],
] as const;
const names = { 0: 'gray', 2: 'RGB', 3: 'palette', 4: 'gray with alpha', 6: 'RGBA' };

function plan(colourType: PngPlan['colourType'], bits: PngPlan['bits'], extra: Partial<PngPlan> = {}): PngPlan {
  const most = 2 ** bits;
  return {
    width: 37,
    height: 29,
    colourType,
    bits,
    sample: (x, y, channel) => Math.floor(((x * (channel + 3) + y * 5 + (x * y) / 7) / 190) * most) % most,
    ...(colourType === 3 && { palette: paletteOf(most) }),
    ...extra,
  };
}

function paletteOf(colours: number): Buffer {
  return Buffer.from(Array.from({ length: colours }, (_, i) => [i * 31, 255 - i * 17, i * i]).flat());
}

async function differenceFromSharp(png: Buffer): Promise<{ path: string; difference: number }> {
  const { pdf, path } = await convertBytes(decoders, png);
  const [picture] = await readPictures(pdf);
  return { path, difference: largestDifference(picture!, await sharpReading(png)) };
}

describe('a PNG is drawn exactly as sharp reads it', () => {
  describe.each(formats)('colour type %i at %i bits', (colourType, bits) => {
    const copied = colourType === 4 || colourType === 6 ? 'split' : 'passthrough';

    it(`${names[colourType]}: without decoding it (${copied})`, async () => {
      expect(await differenceFromSharp(writePng(plan(colourType, bits)))).toEqual({ path: copied, difference: 0 });
    });

    it(`${names[colourType]}, interlaced: decoded`, async () => {
      const png = writePng(plan(colourType, bits, { interlaced: true }));
      expect(await differenceFromSharp(png)).toEqual({ path: 'decode', difference: 0 });
    });

    it.each([0, 1, 2, 3, 4])(`${names[colourType]} with row filter %i alone`, async (filter) => {
      const png = writePng(plan(colourType, bits, { filter: () => filter }));
      expect(await differenceFromSharp(png)).toEqual({ path: copied, difference: 0 });
    });

    it(`${names[colourType]} in odd sizes`, async () => {
      for (const [width, height] of [
        [1, 1],
        [2, 1],
        [1, 9],
        [7, 3],
        [8, 8],
        [33, 2],
      ] as const) {
        const png = writePng(plan(colourType, bits, { width, height }));
        expect({ width, height, ...(await differenceFromSharp(png)) }).toEqual({
          width,
          height,
          path: copied,
          difference: 0,
        });
      }
    });
  });

  it('with IDAT cut into single bytes', async () => {
    const png = writePng(plan(2, 8, { idatBytes: 1 }));
    expect(await differenceFromSharp(png)).toEqual({ path: 'passthrough', difference: 0 });
  });
});

describe('transparency without an alpha channel', () => {
  it.each([
    [0, 1],
    [0, 2],
    [0, 4],
    [0, 8],
    [0, 16],
    [2, 8],
    [2, 16],
  ] as const)(
    'one transparent colour, colour type %i at %i bits: a colour key, still a copy',
    async (colourType, bits) => {
      const base = plan(colourType, bits);
      const channels = colourType === 2 ? 3 : 1;
      const transparency = Buffer.alloc(channels * 2);
      for (let k = 0; k < channels; k++) transparency.writeUInt16BE(base.sample(5, 5, k), k * 2);
      const result = await differenceFromSharp(writePng({ ...base, transparency }));
      expect(result).toEqual({ path: 'passthrough', difference: 0 });
    },
  );

  it.each([1, 2, 4, 8] as const)('one run of vanished palette entries at %i bits: a colour key', async (bits) => {
    const transparency = Buffer.alloc(1 << bits, 255);
    transparency.fill(0, 0, Math.max(1, transparency.length >> 1));
    const result = await differenceFromSharp(writePng(plan(3, bits, { transparency })));
    expect(result).toEqual({ path: 'passthrough', difference: 0 });
  });

  it.each([1, 2, 4, 8] as const)('a palette that fades at %i bits: colour copied, alpha as a mask', async (bits) => {
    const transparency = Buffer.from(Array.from({ length: 1 << bits }, (_, i) => (i * 97 + 40) & 255));
    const result = await differenceFromSharp(writePng(plan(3, bits, { transparency })));
    expect(result).toEqual({ path: 'split', difference: 0 });
  });

  it('fewer alphas than colours, and two vanished runs', async () => {
    const transparency = Buffer.from([0, 255, 0]);
    const result = await differenceFromSharp(writePng(plan(3, 4, { transparency })));
    expect(result).toEqual({ path: 'split', difference: 0 });
  });
});

describe('alpha', () => {
  it.each([
    [4, 8],
    [4, 16],
    [6, 8],
    [6, 16],
  ] as const)('that is opaque throughout is dropped (%i, %i bits)', async (colourType, bits) => {
    const base = plan(colourType, bits);
    const last = colourType === 4 ? 1 : 3;
    for (const filter of [undefined, 0, 1, 2, 3, 4]) {
      const opaque = writePng({
        ...base,
        sample: (x, y, channel) => (channel === last ? 2 ** bits - 1 : base.sample(x, y, channel)),
        ...(filter !== undefined && { filter: () => filter }),
      });
      const { pdf } = await convertBytes(decoders, opaque);
      const [picture] = await readPictures(pdf);
      expect(pdf.includes('\nnull\nendobj')).toBe(true);
      expect(largestDifference(picture!, await sharpReading(opaque))).toBe(0);
    }
  });

  it('with a single pixel that is not opaque is kept', async () => {
    for (const [x0, y0] of [
      [0, 0],
      [36, 28],
      [20, 0],
      [0, 20],
    ] as const) {
      const base = plan(6, 8);
      const png = writePng({
        ...base,
        sample: (x, y, channel) => (channel < 3 ? base.sample(x, y, channel) : x === x0 && y === y0 ? 254 : 255),
      });
      expect(await differenceFromSharp(png)).toEqual({ path: 'split', difference: 0 });
    }
  });

  it('too large to be held until the colour is written is made from a second reading', async () => {
    const png = writePng(plan(6, 8));
    const whole = await convertBytes(decoders, png);
    const reread = await convertBytes(decoders, png, {}, { maxHeldAlphaBytes: 16 });
    expect(reread.sha256).toBe(whole.sha256);
  });
});
