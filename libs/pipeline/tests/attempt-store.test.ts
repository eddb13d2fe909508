import { afterAll, beforeAll, expect, test } from 'vitest';
import { definePipeline, kvAttemptStore } from '../src/index.ts';
import type { AttemptRecord, AttemptStore } from '../src/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';
import { base, wasteDeliveries } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

let source: NatsSource;
beforeAll(async () => {
  source = await natsSource();
});
afterAll(() => source.close());

test('failed runs outlive a restart, and deliveries of other workers are no failed runs', async () => {
  await source.jsm.streams.add({ name: 'KV_attempts', subjects: ['$KV.attempts.>'], max_msgs_per_subject: 1 });
  const place = await source.place();
  const seen: number[] = [];
  const pipeline = definePipeline<Job>({
    ...base(place),
    retry: { maxAttempts: 4, baseMs: 1, jitter: 'none', maxMs: 1 },
    handle: async ({ attempt }) => {
      seen.push(attempt);
      if (attempt < 3) throw new Error('not yet');
    },
  });
  const start = async () => {
    const nats = await place.connect();
    return await pipeline.start({ nats, deps: undefined, attemptStore: kvAttemptStore(nats, { bucket: 'attempts' }) });
  };
  await place.send({ n: 1 });
  // Four deliveries that ended without a run: counted as failures, they would have used all attempts up.
  await wasteDeliveries(place, 4);
  const first = await start();
  await expect.poll(() => place.left()).toBe(0);
  expect(seen).toEqual([1, 2, 3]);
  await first.drain();
  // The record goes with the message.
  await expect
    .poll(async () => {
      const message = await source.jsm.streams.getMessage('KV_attempts', { last_by_subj: '$KV.attempts.>' });
      return message?.header.get('KV-Operation');
    })
    .toBe('DEL');
  await place.close();
});

test('a spec that names its own store keeps it', async () => {
  const place = await source.place();
  const used: string[] = [];
  const storeOf = (name: string): AttemptStore => {
    const records = new Map<string, AttemptRecord>();
    return {
      read: async (key) => records.get(key),
      async write(key, record) {
        used.push(name);
        records.set(key, record);
      },
      remove: async (key) => void records.delete(key),
    };
  };
  const running = await definePipeline<Job>({
    ...base(place),
    attempts: { store: storeOf('own') },
    handle: async ({ attempt }) => {
      if (attempt === 1) throw new Error('once');
    },
  }).start({ nats: place.port, deps: undefined, attemptStore: storeOf('runtime') });
  await place.send({ n: 1 });
  await expect.poll(() => place.left()).toBe(0);
  expect(new Set(used)).toEqual(new Set(['own']));
  await running.drain();
  await place.close();
});
