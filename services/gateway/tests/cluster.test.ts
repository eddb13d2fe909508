// Two gateways on a cluster of three brokers that keep three copies of everything.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNatsCluster, startS3, type NatsCluster, type S3Server } from '@sluice/dev';
import {
  accountStorage,
  connectNats,
  createBus,
  inspect,
  onceBrokerAnswers,
  provision,
  topology,
  type Bus,
} from '@sluice/messaging';
import { silentLogger } from '@sluice/pipeline';
import { createStore, type ObjectStore } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGateway, type Gateway } from '../src/gateway.ts';
import { provisionSystem } from '../src/provision-system.ts';
import { eventually, testSettings } from './rig.ts';

const replicas = 3;
const STORE_BYTES = 2 ** 30;
const room = { replicas, storeBytes: STORE_BYTES };
const names = [
  ...topology.streams.map(({ name }) => name as string),
  ...topology.buckets.map(({ name }) => `KV_${name}`),
];

let cluster: NatsCluster;
let s3: S3Server;
let store: ObjectStore;
let directory: string;
let bus: Bus;
const buses: Bus[] = [];
const gateways: Gateway[] = [];

async function start(): Promise<void> {
  const own = await createBus(await connectNats({ url: cluster.urls.join(','), name: `gateway/${gateways.length}` }));
  await provision(own.nc, topology, room);
  buses.push(own);
  gateways.push(
    await startGateway({
      bus: own,
      store,
      log: silentLogger as unknown as Logger,
      instance: `gateway-${gateways.length}`,
      onFault: (error) => {
        throw error;
      },
      settings: { ...testSettings, ...room },
    }),
  );
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-cluster-'));
  [cluster, s3] = await Promise.all([startNatsCluster(), startS3({ directory, buckets: ['sluice'] })]);
  store = createStore({
    endpoint: s3.url,
    region: s3.region,
    bucket: 'sluice',
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
  });
  await start();
  await start();
  bus = buses[0]!;
});
afterAll(async () => {
  for (const gateway of gateways) await gateway.stop();
  for (const each of buses) await each.close().catch(() => undefined);
  store?.close();
  await Promise.all([cluster?.stop(), s3?.close()]);
  await rm(directory, { recursive: true, force: true });
});

/** Posts mails at both gateways without a pause until told to stop; what was answered 202 is accepted. */
function load(): { stop(): Promise<{ readonly accepted: readonly string[]; readonly longestPauseMs: number }> } {
  const accepted: string[] = [];
  const stopping = new AbortController();
  const { signal } = stopping;
  let lastMs = performance.now();
  let longestPauseMs = 0;
  const client = async (index: number): Promise<void> => {
    for (let n = 0; !signal.aborted; n += 1) {
      const answer = await fetch(`${gateways[index % 2]!.url}/v1/emails`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ to: `a${index}-${n}@example.com`, template: 'welcome', variables: { name: 'Ada' } }),
      });
      const { id } = (await answer.json()) as { id: string };
      // Anything else promised nothing.
      if (answer.status !== 202) continue;
      accepted.push(id);
      longestPauseMs = Math.max(longestPauseMs, performance.now() - lastMs);
      lastMs = performance.now();
    }
  };
  const running = Promise.all(Array.from({ length: 4 }, (_, index) => client(index)));
  return {
    async stop() {
      stopping.abort();
      await running;
      return { accepted, longestPauseMs };
    },
  };
}
const copies = () => Promise.all(names.map(async (name) => (await bus.jsm.streams.info(name)).config.num_replicas));
const isMissing = async (id: string): Promise<boolean> =>
  (await bus.jsm.streams.getMessage('JOBS', { last_by_subj: `jobs.${id}` }).catch(() => null)) === null;
const missing = async (ids: readonly string[]): Promise<readonly string[]> => {
  const found: string[] = [];
  for (const id of ids) if (await isMissing(id)) found.push(id);
  return found;
};
const settled = () =>
  eventually(
    () => Promise.all(names.map(async (name) => (await bus.jsm.streams.info(name)).cluster)).catch(() => []),
    (all) =>
      all.length === names.length &&
      all.every((each) => each?.leader !== undefined && each.replicas?.every(({ current }) => current) === true),
  );

test('every stream and bucket has three copies, stays so at a start without the setting, and keeps an operator’s edit', async () => {
  expect(new Set(await copies())).toEqual(new Set([replicas]));
  await bus.jsm.streams.update('EVENTS', { max_age: 3 * 86_400e9, max_bytes: 50_000_000 });
  const { updated } = await provision(bus.nc, topology, { storeBytes: STORE_BYTES });
  expect(updated).toEqual([]);
  expect(new Set(await copies())).toEqual(new Set([replicas]));
  expect((await bus.jsm.streams.info('EVENTS')).config).toMatchObject({
    max_age: 3 * 86_400e9,
    max_bytes: 50_000_000,
  });
  expect(
    (await inspect(bus.nc, topology, room)).map(({ where, setting, owner }) => `${where} ${setting} ${owner}`),
  ).toEqual(['EVENTS max_age operator', 'EVENTS max_bytes operator']);
});

test('what is stored is counted once, although three servers hold it', async () => {
  for (let n = 0; n < 20; n += 1)
    await bus.port.publish(`events.shop.size${n}`, Buffer.alloc(50_000), { id: `size-${n}` });
  await expect
    .poll(async () => Math.round((await accountStorage(bus.jsm, replicas)).usedBytes / 100_000))
    .toBeGreaterThanOrEqual(10);
  expect((await accountStorage(bus.jsm, replicas)).usedBytes).toBeLessThan(1_500_000);
});

test('a leader that is killed under load costs a pause and no accepted job', async () => {
  await settled();
  const posts = load();
  const leader = (await bus.jsm.streams.info('JOBS')).cluster?.leader ?? '';
  const node = cluster.nodes.get(leader)!;
  await node.kill();
  await eventually(
    () =>
      bus.jsm.streams.info('JOBS').then(
        ({ cluster: now }) => now?.leader,
        () => undefined,
      ),
    (now) => now !== undefined && now !== leader,
  );
  await node.restart();
  await settled();
  const { accepted, longestPauseMs } = await posts.stop();
  console.log(`leader killed: ${accepted.length} accepted, longest pause ${Math.round(longestPauseMs)} ms`);
  expect(accepted.length).toBeGreaterThan(0);
  expect(await missing(accepted)).toEqual([]);
});

test('a rolling restart under load loses no accepted job', async () => {
  await settled();
  const posts = load();
  for (const node of cluster.nodes.values()) {
    await node.restart();
    await settled();
  }
  const { accepted, longestPauseMs } = await posts.stop();
  console.log(`rolling restart: ${accepted.length} accepted, longest pause ${Math.round(longestPauseMs)} ms`);
  expect(accepted.length).toBeGreaterThan(0);
  expect(await missing(accepted)).toEqual([]);
  expect(new Set(await copies())).toEqual(new Set([replicas]));
});

test('a start waits for a cluster that has not elected its leaders yet', async () => {
  const [first, ...others] = [...cluster.nodes.values()];
  for (const node of others) await node.kill();
  const own = await createBus(await connectNats({ url: first!.url, name: 'early' }));
  buses.push(own);
  const warnings: string[] = [];
  const starting = onceBrokerAnswers(() => provisionSystem(own, { ...room, partitions: 1 }, Date.now()), {
    warn: (_, message) => void warnings.push(message),
  });
  await eventually(
    async () => warnings.length,
    (count) => count > 0,
  );
  await Promise.all(others.map((node) => node.restart()));
  expect((await starting).report).toMatchObject({ created: [], updated: [] });
});

test('what the broker refuses ends a start at once', async () => {
  const refused = new Error('no room');
  await expect(onceBrokerAnswers(() => Promise.reject(refused), silentLogger)).rejects.toBe(refused);
});
