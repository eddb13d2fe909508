import { expect, test } from 'vitest';
import { fifths, type Series } from './samples.ts';

/** What grows from a restart to the next one, every `roundSeconds`, and by `perSecond` for good. */
const sawtooth = (seconds: number, roundSeconds: number, perSecond = 0): Series => ({
  name: 'rss.x',
  unit: 'bytes',
  ignored: 0,
  points: Array.from({ length: seconds / 2 }, (_, n) => [2 * n, ((2 * n) % roundSeconds) + perSecond * 2 * n]),
});

test('a process that is restarted again and again has not grown, wherever the fifths begin', () => {
  for (const seconds of [1_000, 1_050, 1_150, 1_250]) {
    const { second, last } = fifths(sawtooth(seconds, 100), { seconds, roundSeconds: 100 });
    expect(Math.abs(last - second)).toBeLessThanOrEqual(2);
  }
});

test('what grows for good has', () => {
  const { second, last } = fifths(sawtooth(1_150, 100, 1), { seconds: 1_150, roundSeconds: 100 });
  expect(last - second).toBeGreaterThan(600);
});

test('a run that is shorter than its rounds is judged by whole fifths', () => {
  const { second, last } = fifths(sawtooth(240, 1_000), { seconds: 240, roundSeconds: 100 });
  expect([second, last]).toEqual([72, 216]);
});
