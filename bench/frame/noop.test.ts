import { expect, test } from 'vitest';
import { besideNoop } from './noop.ts';

const row = { id: 'gateway.ingest', value: 7_000, unit: 'requests/s' };

test('a ratio above its floor passes, and one below is missed', () => {
  expect(besideNoop({ ...row, ratio: 0.8, floor: 0.45 }).pass).toBe(true);
  expect(besideNoop({ ...row, ratio: 0.4, floor: 0.45 }).pass).toBe(false);
  expect(besideNoop({ ...row, ratio: 0.4 }).pass).toBe(true);
});

test('a ratio of 1.05 may be luck', () => {
  expect(besideNoop({ ...row, ratio: 1.05, floor: 0.45 })).toEqual({ ...row, ratio: 1.05, floor: 0.45, pass: true });
});

test('work that is faster than no work is a fault of the bench, floor or no floor', () => {
  const { pass, unit } = besideNoop({ ...row, ratio: 1.16, floor: 0.4 });
  expect(pass).toBe(false);
  expect(unit).toBe('requests/s; FAULT OF THE BENCH: above 1.05 of a no-op');
});
