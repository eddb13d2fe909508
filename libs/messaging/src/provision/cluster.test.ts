import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { startNatsCluster, type NatsCluster } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectNats } from '../nats/connection.ts';
import { topology } from '../topology/topology.ts';
import { inspect, provision } from './provision.ts';

let cluster: NatsCluster;
let nc: NatsConnection;
let jsm: JetStreamManager;

beforeAll(async () => {
  cluster = await startNatsCluster();
  nc = await connectNats({ url: cluster.urls.join(','), name: 'cluster-test' });
  jsm = await jetstreamManager(nc, { timeout: 30_000 });
});
afterAll(async () => {
  await nc?.close();
  await cluster?.stop();
});

const few = {
  streams: topology.streams.filter(({ name }) => name === 'JOBS' || name === 'EMAILS'),
  buckets: topology.buckets.filter(({ name }) => name === 'pipelines'),
};
const replicas = () =>
  Promise.all(['JOBS', 'EMAILS', 'KV_pipelines'].map(async (s) => (await jsm.streams.info(s)).config.num_replicas));

test('streams and buckets get the replicas that are asked for, and are never scaled down', async () => {
  await provision(nc, few);
  expect(await replicas()).toEqual([1, 1, 1]);
  expect((await provision(nc, few, { replicas: 3 })).updated.map((d) => d.setting)).toEqual(
    Array(3).fill('num_replicas'),
  );
  expect(await replicas()).toEqual([3, 3, 3]);
  // The next start, of a gateway that was told nothing of replicas.
  expect((await provision(nc, few)).updated).toEqual([]);
  expect(await replicas()).toEqual([3, 3, 3]);
  expect(await inspect(nc, few)).toEqual([]);
  // The consumers follow: none stays on a single server.
  await expect
    .poll(async () => (await jsm.consumers.info('EMAILS', 'welcome_mailer')).cluster?.replicas?.length, {
      timeout: 20_000,
    })
    .toBe(2);
});
