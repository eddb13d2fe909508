import { expect, test } from 'vitest';
import { PartBuffers } from './part-buffers.ts';

test('four buffers are kept and used again, and the memory of a fifth is free once it is given back', () => {
  const buffers = new PartBuffers();
  const taken = Array.from({ length: 5 }, () => buffers.take());
  for (const buffer of taken) buffers.give(buffer);
  expect(taken.map(({ length }) => length)).toEqual([...Array<number>(4).fill(8 * 2 ** 20), 0]);
  const again = Array.from({ length: 4 }, () => buffers.take());
  expect(new Set(again)).toEqual(new Set(taken.slice(0, 4)));
});
