import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { buildValidator } from './validation.ts';

const schema = Type.Object({ list: Type.Array(Type.Object({ name: Type.String() }, { additionalProperties: false })) });
const validator = () => {
  const compile = buildValidator()({}, {}) as (route: object) => {
    (data: unknown): boolean;
    errors?: readonly object[] | null;
  };
  return compile({ schema, httpPart: 'body', method: 'POST', url: '/x' });
};

test('of a body all faults are told, and of one with a great many values the first', () => {
  const validate = validator();
  const faults = (count: number): unknown => {
    const isValid = validate({ list: Array.from({ length: count }, () => ({ name: 1 })) });
    return [isValid, validate.errors?.length];
  };
  expect(faults(0)).toEqual([true, undefined]);
  expect(faults(3)).toEqual([false, 3]);
  expect(faults(2_000)).toEqual([false, 2_000]);
  expect(faults(6_000)).toEqual([false, 1]);
  expect(validate({ list: Array.from({ length: 6_000 }, () => ({ name: 'a' })) })).toBe(true);
});
