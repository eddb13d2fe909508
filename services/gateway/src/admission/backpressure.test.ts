import { describe, expect, test } from 'vitest';
import type { BrokerState, StreamState } from './broker-watch.ts';
import { Gate } from './backpressure.ts';

const settings = { maxBacklog: 1_000, maxWaitMs: 60_000, random: () => 0 };

/** What the broker says of one lane, the others being empty. */
const seen = (messages: number, drainPerSecond: number): BrokerState => ({
  atMs: 0,
  storage: { usedBytes: 0, limitBytes: 0 },
  streams: [{ name: 'IMAGES', messages, drainPerSecond, consumers: [] } as unknown as StreamState],
});
const look = (gate: Gate, times: number, messages: number, drainPerSecond: number): boolean => {
  for (let i = 0; i < times; i += 1) gate.look(seen(messages, drainPerSecond));
  return gate.isOpen('IMAGES');
};

describe('a lane', () => {
  test('is closed once it has drained too slowly for some seconds, and open again when the wait is short', () => {
    const gate = new Gate(settings);
    expect(look(gate, 20, 100, 1)).toBe(false);
    expect(() => gate.check('IMAGES')).toThrow(
      expect.objectContaining({ code: 'overloaded', options: { retryAfterSeconds: 25 } }),
    );
    // Not at once: a lane at its limit would flap.
    expect(look(gate, 20, 100, 2)).toBe(false);
    expect(look(gate, 20, 100, 3)).toBe(true);
  });

  // How fast an idle lane drains says how little there was to do, and still counts for some seconds after: thirty
  // pictures that came upon one were refused for a minute, with nothing in the way.
  test('that was idle takes a burst, whatever its rate of the last seconds was', () => {
    const gate = new Gate(settings);
    look(gate, 1, 1, 0.4);
    look(gate, 6, 0, 0.1);
    expect(look(gate, 5, 30, 0.1)).toBe(true);
    look(gate, 1, 0, 0.1);
    expect(look(gate, 5, 30, 0.1)).toBe(true);
  });

  test('is closed by its backlog at once, whatever the rate', () => {
    const gate = new Gate(settings);
    expect(look(gate, 1, 1_000, 1_000)).toBe(false);
    expect(look(gate, 1, 800, 1_000)).toBe(false);
    expect(look(gate, 1, 700, 1_000)).toBe(true);
  });
});
