import { pageLimits } from '@sluice/contracts';
import { describe, expect, it } from 'vitest';
import { defaultOptions, type PageOptions } from './options.ts';
import { placeIn, printedSize, sheetFor, type Size } from './page-layout.ts';

const sheet = (printed: Size, options: Partial<PageOptions> = {}) =>
  sheetFor(printed, { ...defaultOptions, ...options });
const at = (x: number, y = x) => ({ x, y });
const mm = (length: number): number => expect.closeTo((length * 72) / 25.4, 2) as number;
const upright = { width: 300, height: 400 };
const across = { width: 400, height: 300 };

describe('the printed size', () => {
  it('follows a density that differs across and down, as faxes have it', () => {
    const { width, height } = printedSize({ width: 1728, height: 1143 }, at(204, 98), 1);
    expect([width, height]).toEqual([expect.closeTo(609.8824), expect.closeTo(839.7551)]);
  });

  it('is of the picture as it is seen', () => {
    expect(printedSize({ width: 200, height: 100 }, at(72), 6)).toEqual({ width: 100, height: 200 });
  });
});

describe('a page of its picture', () => {
  it('is as large as the picture', () => {
    const printed = printedSize({ width: 2480, height: 3508 }, at(300), 1);
    expect(sheet(printed)).toMatchObject({ widthPt: 595.2, heightPt: 841.92 });
  });

  it('is never smaller than 3 points, nor larger than 14,400 units', () => {
    expect(sheet({ width: 0.24, height: 0.24 })).toMatchObject({ widthPt: 3, heightPt: 3 });
    expect(sheet({ width: 75_000, height: 7.5 })).toMatchObject({ userUnit: 6, widthPt: 12_500 });
    expect(sheet({ width: 14_390, height: 10 }, { marginMm: 10 })).toMatchObject({ userUnit: 2 });
  });

  it('has a margin around it', () => {
    const { widthPt, heightPt, places } = sheet({ width: 100, height: 50 }, { marginMm: 10 });
    expect([widthPt, heightPt]).toEqual([expect.closeTo(156.6929, 3), expect.closeTo(106.6929, 3)]);
    expect(places).toEqual([{ x: mm(10), y: mm(10), width: 100, height: 50 }]);
  });
});

describe('a sheet of paper', () => {
  it.each([
    ['a3', 297, 420],
    ['a4', 210, 297],
    ['a5', 148, 210],
    ['letter', 215.9, 279.4],
    ['legal', 215.9, 355.6],
  ] as const)('%s has its size', (pageSize, short, long) => {
    const [width, height] = [(short * 72) / 25.4, (long * 72) / 25.4];
    const { widthPt, heightPt } = sheet(upright, { pageSize });
    expect(widthPt).toBeCloseTo(width, 1);
    expect(heightPt).toBeCloseTo(height, 1);
  });

  it('is held as its first picture, or as asked', () => {
    const held = (printed: Size, pageOrientation: PageOptions['pageOrientation']): string => {
      const { widthPt, heightPt } = sheet(printed, { pageSize: 'a4', pageOrientation });
      return widthPt > heightPt ? 'landscape' : 'portrait';
    };
    expect(held(upright, 'auto')).toBe('portrait');
    expect(held(across, 'auto')).toBe('landscape');
    expect(held({ width: 50, height: 50 }, 'auto')).toBe('portrait');
    expect(held(across, 'portrait')).toBe('portrait');
    expect(held(upright, 'landscape')).toBe('landscape');
  });

  it('has rows and columns in which its first picture is largest', () => {
    const grid = (printed: Size, picturesPerPage: number): readonly number[] => {
      const { widthPt, heightPt, places } = sheet(printed, { pageSize: 'a4', picturesPerPage });
      const columns = new Set(places.map(({ x }) => x)).size;
      return [widthPt > heightPt ? 1 : 0, columns, places.length / columns];
    };
    expect(grid(upright, 2)).toEqual([1, 2, 1]);
    expect(grid(across, 2)).toEqual([0, 1, 2]);
    expect(grid(upright, 4)).toEqual([0, 2, 2]);
    expect(grid(upright, 6)).toEqual([1, 3, 2]);
    expect(grid(across, 6)).toEqual([0, 2, 3]);
    expect(grid({ width: 1000, height: 20 }, 4)).toEqual([1, 1, 4]);
  });

  it('keeps the margin at each edge and between pictures, and has room for as many as may be asked for', () => {
    for (const pageSize of ['a3', 'a4', 'a5', 'letter', 'legal'] as const) {
      for (const picturesPerPage of pageLimits.picturesPerPage) {
        for (const marginMm of [0, 5, pageLimits.maxMarginMm]) {
          const { widthPt, heightPt, places } = sheet(upright, { pageSize, picturesPerPage, marginMm });
          const margin = (marginMm * 72) / 25.4;
          expect(places).toHaveLength(picturesPerPage);
          for (const [index, { x, y, width, height }] of places.entries()) {
            expect(Math.min(width, height)).toBeGreaterThan(10);
            expect(Math.min(x, y)).toBeGreaterThan(margin - 0.001);
            expect(widthPt - x - width).toBeGreaterThan(margin - 0.001);
            expect(heightPt - y - height).toBeGreaterThan(margin - 0.001);
            for (const other of places.slice(index + 1)) {
              const apart = Math.max(other.x - x - width, other.y - y - height);
              expect(apart).toBeGreaterThan(margin - 0.001);
            }
          }
        }
      }
    }
  });
});

describe('a picture in its place', () => {
  const place = { x: 100, y: 200, width: 200, height: 100 };

  it('contained, is whole, as large as it can be, in the middle', () => {
    expect(placeIn(place, { width: 10, height: 10 }, 'contain')).toEqual({
      picture: { x: 150, y: 200, width: 100, height: 100 },
      clip: undefined,
    });
  });

  it('that covers it is cut off by it', () => {
    expect(placeIn(place, { width: 10, height: 10 }, 'cover')).toEqual({
      picture: { x: 100, y: 150, width: 200, height: 200 },
      clip: place,
    });
    expect(placeIn(place, { width: 20, height: 10 }, 'cover').clip).toBeUndefined();
  });

  it('scaled down, is as large as its density says, and never larger than its place', () => {
    expect(placeIn(place, { width: 10, height: 10 }, 'scale-down').picture).toMatchObject({ x: 195, width: 10 });
    expect(placeIn(place, { width: 1000, height: 100 }, 'scale-down').picture).toMatchObject({
      width: 200,
      height: 20,
    });
  });
});
