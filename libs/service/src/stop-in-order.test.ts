import { expect, test } from 'vitest';
import { stopInOrder } from './stop-in-order.ts';

test('a part that hangs or throws keeps no other from ending, and is named', async () => {
  const order: string[] = [];
  const notDone = await stopInOrder(50, [
    { what: 'first', stop: () => order.push('first') },
    { what: 'hangs', stop: () => new Promise(() => undefined) },
    { what: 'throws', stop: () => Promise.reject(new Error('no')) },
    { what: 'throws at once', stop: () => JSON.parse('{') as unknown },
    { what: 'partly', stop: () => ['mailer: 3 messages'] },
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
