import { describe, expect, test } from 'vitest';
import type { BrokerState, StreamState } from './broker-watch.ts';
import { BackpressureLimiter } from './backpressure.ts';

const settings = { maxBacklog: 1_000, maxWaitMs: 60_000, random: () => 0 };

/** What the broker says of one lane, the others being empty. */
const seen = (messages: number, drainPerSecond: number): BrokerState => ({
  atMs: 0,
  storage: { usedBytes: 0, limitBytes: 0 },
  buckets: [],
  streams: [{ name: 'IMAGES', messages, drainPerSecond, consumers: [] } as unknown as StreamState],
});
const look = (backpressure: BackpressureLimiter, times: number, messages: number, drainPerSecond: number): boolean => {
  for (let i = 0; i < times; i += 1) backpressure.update(seen(messages, drainPerSecond));
  return backpressure.isOpen('IMAGES');
};

describe('a lane', () => {
  test('is closed once it has drained too slowly for some seconds, and open again when the wait is short', () => {
    const backpressure = new BackpressureLimiter(settings);
    expect(look(backpressure, 20, 100, 1)).toBe(false);
    expect(() => backpressure.check('IMAGES')).toThrow(
      expect.objectContaining({ code: 'overloaded', options: { retryAfterSeconds: 25 } }),
    );
    // Not at once: a lane at its limit would flap.
    expect(look(backpressure, 20, 100, 2)).toBe(false);
    expect(look(backpressure, 20, 100, 3)).toBe(true);
  });

  // How fast an idle lane drains says how little there was to do, and still counts for some seconds after: thirty
  // pictures that came upon one were refused for a minute, with nothing in the way.
  test('that was idle takes a burst, even after seconds of a low rate', () => {
    const backpressure = new BackpressureLimiter(settings);
    look(backpressure, 1, 1, 0.4);
    look(backpressure, 6, 0, 0.1);
    expect(look(backpressure, 5, 30, 0.1)).toBe(true);
    look(backpressure, 1, 0, 0.1);
    expect(look(backpressure, 5, 30, 0.1)).toBe(true);
  });

  test('is closed by its backlog at once, at any rate', () => {
    const backpressure = new BackpressureLimiter(settings);
    expect(look(backpressure, 1, 1_000, 1_000)).toBe(false);
    expect(look(backpressure, 1, 800, 1_000)).toBe(false);
    expect(look(backpressure, 1, 700, 1_000)).toBe(true);
  });
});
