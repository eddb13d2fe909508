import { startFaultProxy, startNats, type NatsProcess } from '@sluice/dev';
import { jetstreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BucketMissingError, createBucket, openBucket, valueOf } from './bucket.ts';
import { watchBucket } from './watch-bucket.ts';
import { connectNats } from '../nats/connection.ts';

const isEntry = (value: object): value is { paused: boolean } => 'paused' in value;

const spec = { name: 'watched', about: 'for the tests', ttlMs: 0, storeShare: 0.001 };

let server: NatsProcess;
let nc: NatsConnection;
let kv: KV;
beforeAll(async () => {
  server = await startNats();
  nc = await connectNats({ url: server.url, name: 'bucket-test' });
  kv = await createBucket(nc, spec);
});
afterAll(async () => {
  await nc?.close();
  await server?.stop();
});

// One such entry, put by hand, kept every service from starting for as long as it was there.
test('an entry that is no JSON is passed over, and the others are told', async () => {
  await kv.put('first', JSON.stringify({ paused: true, reason: 'deploy' }));
  await kv.put('broken', 'paused, please');
  await kv.put('none', 'null');
  await kv.put('other', '{"of":"something else"}');
  const told: [string, unknown][] = [];
  const watch = await watchBucket(nc, spec, {
    isValue: isEntry,
    onEntry: (key, value) => void told.push([key, value]),
  });
  expect(told).toEqual([['first', { paused: true, reason: 'deploy' }]]);
  expect(valueOf(await kv.get('broken'), isEntry)).toBeUndefined();
  await kv.put('broken', '{"paused":false}');
  await kv.delete('first');
  await expect
    .poll(() => told.slice(1))
    .toEqual([
      ['broken', { paused: false }],
      ['first', undefined],
    ]);
  await watch.stop();
});

/** A copy of a bucket, as a process keeps one. */
async function copyOf(name: string, options: { readonly mayBeMissing?: boolean } = {}) {
  const copy = new Map<string, boolean>();
  const watch = await watchBucket(
    nc,
    { name },
    {
      isValue: isEntry,
      onEntry: (key, value) => (value === undefined ? copy.delete(key) : copy.set(key, value.paused)),
      checkEveryMs: 200,
      ...options,
    },
  );
  return { copy, watch };
}
const put = (bucket: KV, key: string, paused: boolean) => bucket.put(key, JSON.stringify({ paused }));

test('a bucket that was deleted and made again is heard, and what is gone is told', async () => {
  const jsm = await jetstreamManager(nc);
  const made = await createBucket(nc, { ...spec, name: 'again' });
  for (const key of ['a', 'b', 'c']) await put(made, key, true);
  const { copy, watch } = await copyOf('again');
  expect([...copy.keys()]).toEqual(['a', 'b', 'c']);
  await jsm.streams.delete('KV_again');
  await expect.poll(() => watch.trouble()).toBe('stream KV_again does not exist');
  // What it said last stays while nothing says otherwise.
  expect(copy.size).toBe(3);
  const second = await createBucket(nc, { ...spec, name: 'again' });
  await put(second, 'b', false);
  await expect.poll(() => [...copy]).toEqual([['b', false]]);
  await put(second, 'd', true);
  await expect.poll(() => copy.get('d')).toBe(true);
  expect(watch.trouble()).toBeUndefined();
  await watch.stop();
});

test('one that is made again in between, too fast to be seen missing, is heard too', async () => {
  const jsm = await jetstreamManager(nc);
  const made = await createBucket(nc, { ...spec, name: 'fast' });
  for (let n = 0; n < 20; n += 1) await put(made, `k${n}`, true);
  const { copy, watch } = await copyOf('fast');
  await jsm.streams.delete('KV_fast');
  await put(await createBucket(nc, { ...spec, name: 'fast' }), 'only', true);
  await expect.poll(() => [...copy.keys()]).toEqual(['only']);
  await watch.stop();
});

test('changes made while the connection was away are told, removals too', async () => {
  const proxy = await startFaultProxy({ targetPort: server.port });
  const away = await connectNats({ url: `nats://127.0.0.1:${proxy.port}`, name: 'away' });
  const bucket = await createBucket(nc, { ...spec, name: 'cut' });
  await put(bucket, 'a', true);
  await put(bucket, 'b', true);
  const copy = new Map<string, boolean>();
  const watch = await watchBucket(
    away,
    { name: 'cut' },
    {
      isValue: isEntry,
      onEntry: (key, value) => (value === undefined ? copy.delete(key) : copy.set(key, value.paused)),
    },
  );
  await proxy.down();
  await put(bucket, 'a', false);
  await bucket.purge('b');
  await proxy.up();
  await expect.poll(() => [...copy]).toEqual([['a', false]]);
  await watch.stop();
  await away.close();
  await proxy.close();
});

test('a listener that throws ends nothing, and is told of', async () => {
  const bucket = await createBucket(nc, { ...spec, name: 'throws' });
  const errors: unknown[] = [];
  const told: string[] = [];
  const watch = await watchBucket(
    nc,
    { name: 'throws' },
    {
      isValue: isEntry,
      onEntry(key) {
        told.push(key);
        if (key === 'bad') throw new Error('listener');
      },
      onError: (error) => errors.push(error),
    },
  );
  await put(bucket, 'bad', true);
  await put(bucket, 'good', true);
  await expect.poll(() => told).toEqual(['bad', 'good']);
  expect(errors).toMatchObject([{ message: 'listener' }]);
  await watch.stop();
});

test('a bucket that is missing is an error that says who makes it, unless it may be missing', async () => {
  await expect(openBucket(nc, { name: 'none' })).rejects.toThrow(/none does not exist: start the gateway/);
  await expect(copyOf('none')).rejects.toThrow(BucketMissingError);
  const { copy, watch } = await copyOf('none', { mayBeMissing: true });
  await put(await createBucket(nc, { ...spec, name: 'none' }), 'k', true);
  await expect.poll(() => copy.get('k')).toBe(true);
  await watch.stop();
});
