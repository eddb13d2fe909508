import { expect, test } from 'vitest';
import { bottleneckOf } from './bottleneck.ts';

const processes = { gateway: 1, brokers: 1, workers: 4, load: 1 };

test('one thread that is full is named before the machine', () => {
  const { what, share } = bottleneckOf({ taken: { gateway: 0.97, brokers: 0.4, workers: 0.5 }, processes, cores: 2 });
  expect(what).toBe('one thread of gateway, at 0.97 of a processor');
  expect(share).toBe(0.97);
});

test('a machine that is full is named with what takes most of it', () => {
  const { what } = bottleneckOf({ taken: { gateway: 0.6, brokers: 0.3, workers: 1 }, processes, cores: 2 });
  expect(what).toBe('the processors, 1.90 of 2, most of it workers with 1.00');
});

test('where neither is full, the system waits', () => {
  const { what } = bottleneckOf({ taken: { gateway: 0.2, brokers: 0.3, workers: 0.1 }, processes, cores: 2 });
  expect(what).toMatch(/^waiting: 0\.60 of 2/);
});
