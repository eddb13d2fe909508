import { expect, test } from 'vitest';
import { lagJudge, watchLoopLag } from './loop-lag.ts';

const judged = (...lateMs: readonly number[]): boolean[] => lateMs.map(lagJudge(100));

test('one long pause, as at a start, is no reason to refuse anything', () => {
  expect(judged(0, 5_000, 0, 0, 5_000, 5_000, 0)).not.toContain(true);
});

test('a loop that is late time and again is overloaded, until it has been calm for a while', () => {
  expect(judged(200, 200, 200, 60, 60, 10, 10, 10, 60, 10, 10, 10, 10)).toEqual([
    false,
    false,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    true,
    false,
  ]);
});

test('a process that is blocked time and again notices', async () => {
  const lag = watchLoopLag(50);
  try {
    while (!lag.isHigh()) {
      const until = performance.now() + 200;
      while (performance.now() < until); // blocks the loop
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    lag.close();
  }
  expect(lag.isHigh()).toBe(true);
});
