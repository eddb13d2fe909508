import { expect, test } from 'vitest';
import { STOP_GRACE_MS, stopInOrder } from './stop-in-order.ts';

test('a part that hangs or throws keeps no other from ending, and is named', async () => {
  const order: string[] = [];
  const notDone = await stopInOrder(50, [
    { what: 'first', stop: () => order.push('first') },
    { what: 'hangs', stop: () => new Promise(() => undefined) },
    { what: 'throws', stop: () => Promise.reject(new Error('no')) },
    { what: 'throws at once', stop: () => JSON.parse('{') as unknown },
    { what: 'partly', stop: () => ['mailer: 3 messages'] },
    { what: 'several at once', stop: () => [undefined, undefined] },
    { what: 'last', stop: async () => order.push('last') },
  ]);
  expect(order).toEqual(['first', 'last']);
  expect(notDone).toEqual([
    expect.stringMatching(/^hangs: not within/),
    'throws: no',
    expect.stringMatching(/^throws at once: /),
    'mailer: 3 messages',
  ]);
});

test('however many parts hang, they are given no more than the limit and the grace in all', async () => {
  const steps = Array.from({ length: 30 }, (_, n) => ({ what: `part ${n}`, stop: () => new Promise(() => undefined) }));
  const notDone = await stopInOrder(40, steps);
  expect(notDone).toHaveLength(30);
  const given = notDone.map((text) => Number(/not within (\d+) ms/.exec(text)?.[1]));
  // Each figure is rounded by half a millisecond at most.
  expect(given.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(40 + STOP_GRACE_MS + 15);
});
