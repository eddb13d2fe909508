import { startNats, type NatsProcess } from '@sluice/dev';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buckets } from '../topology/buckets.ts';
import { createBucket, valueOf, watchBucket } from './bucket.ts';
import { connectNats } from '../nats/connection.ts';
import { watchSwitchboard } from '../pipelines/switches.ts';

const isSwitch = (value: object): value is { paused: boolean } => 'paused' in value;

let server: NatsProcess;
let nc: NatsConnection;
let kv: KV;
beforeAll(async () => {
  server = await startNats();
  nc = await connectNats({ url: server.url, name: 'bucket-test' });
  kv = await createBucket(nc, buckets.pauseState);
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
  const stop = await watchBucket(kv, isSwitch, (key, value) => told.push([key, value]));
  await expect.poll(() => told).toEqual([['first', { paused: true, reason: 'deploy' }]]);
  expect(valueOf(await kv.get('broken'), isSwitch)).toBeUndefined();
  await kv.put('broken', '{"paused":false}');
  await kv.delete('first');
  await expect
    .poll(() => told.slice(1))
    .toEqual([
      ['broken', { paused: false }],
      ['first', undefined],
    ]);
  stop();
});

test('a pipeline is paused by its entry although another one is broken', async () => {
  await kv.put('broken', 'paused, please');
  await kv.put('mailer', JSON.stringify({ paused: true, reason: 'deploy' }));
  const paused: string[] = [];
  const pipeline = { state: 'running', pause: async (reason: string) => void paused.push(reason) };
  const follower = await watchSwitchboard(nc);
  follower.started('mailer', pipeline as never);
  await expect.poll(() => paused).toContain('deploy');
  follower.stop();
});
