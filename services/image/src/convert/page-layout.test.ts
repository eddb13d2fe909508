import { describe, expect, it } from 'vitest';
import { layOut } from './page-layout.ts';

describe('a page', () => {
  const at = (x: number, y = x) => ({ x, y });

  it('is as large as its picture', () => {
    expect(layOut({ width: 2480, height: 3508 }, at(300), 1, 'image')).toMatchObject({
      widthPt: 595.2,
      heightPt: 841.92,
    });
  });

  it('follows a density that differs across and down, as faxes have it', () => {
    expect(layOut({ width: 1728, height: 1143 }, at(204, 98), 1, 'image')).toMatchObject({
      widthPt: 609.8824,
      heightPt: 839.7551,
    });
  });

  it('lies on its side when its picture is turned', () => {
    expect(layOut({ width: 200, height: 100 }, at(72), 6, 'image')).toMatchObject({ widthPt: 100, heightPt: 200 });
  });

  it('is never smaller than 3 points, nor larger than 14,400 units', () => {
    expect(layOut({ width: 1, height: 1 }, at(300), 1, 'image')).toMatchObject({ widthPt: 3, heightPt: 3 });
    expect(layOut({ width: 100_000, height: 10 }, at(96), 1, 'image')).toMatchObject({ userUnit: 6, widthPt: 12_500 });
  });

  it('of paper fits the picture and centres it', () => {
    expect(layOut({ width: 100, height: 100 }, at(72), 1, 'letter')).toEqual({
      widthPt: 612,
      heightPt: 792,
      userUnit: 1,
      picture: { x: 0, y: 90, width: 612, height: 612 },
    });
  });
});
