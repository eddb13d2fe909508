import { expect, test } from 'vitest';
import { Pace } from './pace.ts';

test('every turn is due while something moves, every fourth once nothing has for long, and every one again at once', () => {
  let now = 0;
  const pace = new Pace(5_000, () => now);
  const turns = (count: number): boolean[] => Array.from({ length: count }, () => ((now += 500), pace.isDue()));
  expect(turns(10)).toEqual(Array(10).fill(true));
  expect(turns(8)).toEqual([false, false, false, true, false, false, false, true]);
  expect(turns(1)).toEqual([false]);
  pace.moved();
  expect(turns(10)).toEqual(Array(10).fill(true));
  expect(turns(4)).toEqual([false, false, false, true]);
});
