import { describe, expect, test } from 'vitest';
import { readUnsubscribeToken, unsubscribeToken } from './unsubscribe-token.ts';

const SECRET = 'a secret of some length';

describe('an unsubscribe token', () => {
  test('stands for an address', () => {
    expect(readUnsubscribeToken(unsubscribeToken('ada@example.com', SECRET), SECRET)).toBe('ada@example.com');
  });

  test.each([
    ['nothing', ''],
    ['another address', unsubscribeToken('eve@example.com', SECRET).replace(/^[^.]+/, 'YWRhQGV4YW1wbGUuY29t')],
    ['another secret', unsubscribeToken('ada@example.com', 'another secret')],
    ['no signature', 'YWRhQGV4YW1wbGUuY29t'],
    ['an empty signature', 'YWRhQGV4YW1wbGUuY29t.'],
    ['a third part', `${unsubscribeToken('ada@example.com', SECRET)}.x`],
  ])('with %s is none', (_, token) => expect(readUnsubscribeToken(token, SECRET)).toBeUndefined());
});
