import { jobChannels } from '@sluice/contracts';
import { bucketStream, topologyOf } from '@sluice/messaging';
import { describe, expect, test } from 'vitest';
import { againstOrder, passesOn, readOrder } from './read-order.ts';

const topology = topologyOf(jobChannels.length);

describe('the order in which a backup reads', () => {
  test('has every stream and bucket once', () => {
    const all = [...topology.streams.map(({ name }) => name), ...topology.buckets.map(bucketStream)];
    expect(readOrder.toSorted()).toEqual(all.toSorted());
    expect([...passesOn.keys()].toSorted()).toEqual(topology.streams.map(({ name }) => name).toSorted());
  });

  test('has a stream before those it passes messages on to, but for the steps that the reconciler repeats', () => {
    const against = [...passesOn].flatMap(([from, targets]) =>
      targets.filter((to) => readOrder.indexOf(to) < readOrder.indexOf(from)).map((to) => `${from} to ${to}`),
    );
    expect(against.toSorted()).toEqual(againstOrder.map(([from, to]) => `${from} to ${to}`).toSorted());
  });
});
