import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../errors.ts';
import { keyOf } from './idempotency.ts';
import { requestHash } from './request-hash.ts';

describe('the hash of a request', () => {
  test('is the same however fields are ordered and defaults are left out', () => {
    const a = requestHash({
      kind: 'email',
      to: 'a@x.y',
      variables: { b: 1, a: [1, { d: 2, c: 3 }] },
      callback: undefined,
    });
    const b = requestHash({ callback: '', variables: { a: [1, { c: 3, d: 2 }], b: 1 }, to: 'a@x.y', kind: 'email' });
    expect(a).toBe(b);
  });

  test('differs when anything asked for differs', () => {
    const of = (variables: object) => requestHash({ variables: { ...variables } });
    expect(new Set([of({ a: 1 }), of({ a: '1' }), of({ a: [1] }), of({ a: null }), of({ b: 1 })]).size).toBe(5);
  });
});

describe('the Idempotency-Key header', () => {
  test('is taken quoted, as the draft has it, and bare', () => {
    expect([keyOf('"order-17"'), keyOf('order-17'), keyOf('"a \\"b\\""'), keyOf(undefined)]).toEqual([
      'order-17',
      'order-17',
      'a "b"',
      undefined,
    ]);
  });

  test.each(['', '""', 'ü', 'x'.repeat(256)])('%j is refused', (header) => {
    expect(() => keyOf(header)).toThrow(GatewayError);
  });
});
