import { describe, expect, test } from 'vitest';
import { createPacer } from './pacer.ts';

const { signal } = new AbortController();

/** A pacer on a clock that stands still, and the waits it asked for. */
function stopped(perSecond: number | undefined) {
  const waits: number[] = [];
  let nowMs = 1_000;
  const clock = {
    now: () => nowMs,
    wait: (ms: number) => {
      waits.push(ms);
      return Promise.resolve();
    },
  };
  return { pace: createPacer(perSecond, clock), waits, pass: (ms: number) => (nowMs += ms) };
}

describe('a provider with a limit per second', () => {
  test('gets mails evenly spaced, not in bursts', async () => {
    const { pace, waits } = stopped(50);
    await Promise.all([pace(signal), pace(signal), pace(signal), pace(signal)]);
    expect(waits).toEqual([20, 40, 60]);
  });

  test('saves up nothing while it is idle', async () => {
    const { pace, waits, pass } = stopped(10);
    await pace(signal);
    pass(5_000);
    await Promise.all([pace(signal), pace(signal)]);
    expect(waits).toEqual([100]);
  });

  test('without one no caller waits', async () => {
    const { pace, waits } = stopped(undefined);
    await Promise.all([pace(signal), pace(signal)]);
    expect(waits).toEqual([]);
  });
});
