import { afterEach, describe, expect, test } from 'vitest';
import { BodyWatch } from './body-watch.ts';

describe('a body that arrives slowly', () => {
  // Looked at by hand: the timer of its own never comes to it.
  const rule = { windowMs: 3_600_000, minBytesPerWindow: 1_000 };
  let nowMs = 0;
  const watch = new BodyWatch(rule, () => nowMs);
  afterEach(() => watch.close());

  test('is taken however long it takes while every window brings enough, and cut once one does not', () => {
    const body = { received: 0, stalled: 0 };
    watch.watch({ received: () => body.received, isWaiting: () => true, onStall: () => (body.stalled += 1) });
    for (let window = 0; window < 100; window += 1) {
      nowMs += rule.windowMs - 1;
      body.received += rule.minBytesPerWindow;
      watch.look();
    }
    expect(body.stalled).toBe(0);
    body.received += rule.minBytesPerWindow - 1;
    nowMs += rule.windowMs;
    watch.look();
    watch.look();
    expect(body.stalled).toBe(1);
  });

  test('is not cut while it is the reader that is slow', () => {
    const body = { waiting: false, stalled: 0 };
    watch.watch({ received: () => 0, isWaiting: () => body.waiting, onStall: () => (body.stalled += 1) });
    for (let look = 0; look < 3; look += 1) {
      nowMs += rule.windowMs;
      watch.look();
    }
    expect(body.stalled).toBe(0);
    body.waiting = true;
    nowMs += rule.windowMs;
    watch.look();
    expect(body.stalled).toBe(1);
  });
});
