import { describe, expect, it } from 'vitest';
import { jfifDensity, pageDensity, physDensity, preferredDensity, tiffDensity } from './density.ts';

const none = { x: 96, y: 96 };

describe('the density of a page', () => {
  it('is taken in whole pixels per inch, for each axis', () => {
    expect(pageDensity({ x: 299.9994, y: 149.6, unit: 'inch' })).toEqual({ x: 300, y: 150 });
  });

  it('is 96 where none is stated, as browsers have it, and below 30, which is a placeholder', () => {
    expect(pageDensity(undefined)).toEqual(none);
    for (const [x, y] of [
      [0, 0],
      [1, 1],
      [25.4, 25.4],
      [300, Number.NaN],
      [30_000, 300],
    ] as const) {
      expect(pageDensity({ x, y, unit: 'inch' })).toEqual(none);
    }
  });

  it('of a ratio keeps the aspect of the pixels, at 96 or more', () => {
    expect(pageDensity({ x: 300, y: 300, unit: 'ratio' })).toEqual(none);
    expect(pageDensity({ x: 2, y: 1, unit: 'ratio' })).toEqual({ x: 192, y: 96 });
    expect(pageDensity({ x: 1, y: 2, unit: 'ratio' })).toEqual({ x: 96, y: 192 });
    expect(pageDensity({ x: 1, y: 1_000, unit: 'ratio' })).toEqual(none);
  });
});

describe('a density is read with its unit', () => {
  const phys = (x: number, y: number, unit: number): Buffer => {
    const chunk = Buffer.alloc(9);
    chunk.writeUInt32BE(x, 0);
    chunk.writeUInt32BE(y, 4);
    chunk[8] = unit;
    return chunk;
  };
  it.each([
    ['JFIF per inch', jfifDensity(1, 204, 98), { x: 204, y: 98 }],
    ['JFIF per centimetre', jfifDensity(2, 118, 59), { x: 300, y: 150 }],
    ['JFIF without a unit', jfifDensity(0, 1, 1), none],
    ['JFIF of nothing', jfifDensity(1, 0, 0), none],
    ['pHYs per metre', physDensity(phys(11_811, 5906, 1)), { x: 300, y: 150 }],
    ['pHYs without a unit', physDensity(phys(4, 1, 0)), { x: 384, y: 96 }],
    ['pHYs of a wrong length', physDensity(Buffer.alloc(8)), none],
    ['TIFF per inch', tiffDensity(204, 196, 2), { x: 204, y: 196 }],
    ['TIFF per centimetre', tiffDensity(118.11, 59.055, 3), { x: 300, y: 150 }],
    ['TIFF without a unit', tiffDensity(300, 300, 1), none],
    ['TIFF whose unit is absent', tiffDensity(150, 150, 0), { x: 150, y: 150 }],
    ['TIFF of one axis', tiffDensity(150, 0, 2), { x: 150, y: 150 }],
    ['TIFF of nothing', tiffDensity(0, 0, 2), none],
  ])('%s', (_, stated, density) => {
    expect(pageDensity(stated)).toEqual(density);
  });

  it('and of two, the absolute one counts', () => {
    const [ratio, inch] = [jfifDensity(0, 1, 1), tiffDensity(300, 300, 2)];
    expect(preferredDensity(ratio, inch)).toBe(inch);
    expect(preferredDensity(inch, ratio)).toBe(inch);
    expect(preferredDensity(undefined, ratio)).toBe(ratio);
  });
});
