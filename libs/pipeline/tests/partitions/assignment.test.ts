import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { assign } from '../../src/partitions/assignment.ts';

const replicas = fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 9 });
const partitions = fc.integer({ min: 1, max: 64 });

test('every partition has a reader, and no replica has two more than another', () => {
  fc.assert(
    fc.property(partitions, replicas, (count, ids) => {
      const assigned = assign(count, ids);
      expect([...assigned.keys()]).toEqual(Array.from({ length: count }, (_, number) => number));
      const shares = ids.map((id) => [...assigned.values()].filter((reader) => reader === id).length);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }),
  );
});

test('every replica computes the same, in any order in which it knows the others', () => {
  fc.assert(
    fc.property(partitions, replicas, (count, ids) => {
      expect(assign(count, ids.toReversed())).toEqual(assign(count, ids));
    }),
  );
});

test('a replica that joins moves about its share, not everything', () => {
  fc.assert(
    fc.property(replicas, fc.uuid(), (ids, joined) => {
      fc.pre(!ids.includes(joined));
      const before = assign(64, ids);
      const after = assign(64, [...ids, joined]);
      const moved = [...before].filter(([number, reader]) => after.get(number) !== reader).length;
      // Its share, and as much again for those whose shares became smaller.
      expect(moved).toBeLessThanOrEqual(3 * Math.ceil(64 / (ids.length + 1)));
    }),
  );
});

test('without a replica nothing is assigned', () => {
  expect(assign(4, []).size).toBe(0);
});
