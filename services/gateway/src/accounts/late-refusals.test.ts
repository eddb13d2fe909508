import { expect, test } from 'vitest';
import { LateRefusals } from './late-refusals.ts';

const limits = { prompt: 2, held: 3, windowMs: 20 };

test('some refusals of a window are prompt, so many more wait for its end, and one caller is not another', async () => {
  let nowMs = 5;
  const refusals = new LateRefusals(limits, () => nowMs);
  const kinds = (who: string, count: number) => Array.from({ length: count }, () => refusals.hold(who));
  const first = kinds('greedy', 6);
  expect(first.map((wait) => wait !== undefined)).toEqual([false, false, true, true, true, false]);
  expect(refusals.hold('modest')).toBeUndefined();
  await Promise.all(first.filter((wait) => wait !== undefined));
  nowMs += 20;
  const next = kinds('greedy', 3);
  expect(next.map((wait) => wait !== undefined)).toEqual([false, false, true]);
  await Promise.all(next.filter((wait) => wait !== undefined));
});

test('one that still waits counts in the next window', async () => {
  let nowMs = 0;
  const refusals = new LateRefusals(limits, () => nowMs);
  const waits = Array.from({ length: 5 }, () => refusals.hold('greedy'));
  nowMs = 20;
  expect(Array.from({ length: 4 }, () => refusals.hold('greedy'))).toEqual(Array(4).fill(undefined));
  await Promise.all(waits.filter((wait) => wait !== undefined));
});
