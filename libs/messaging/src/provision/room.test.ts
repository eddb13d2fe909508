import { jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectNats } from '../nats/connection.ts';
import { topology, topologyOf } from '../topology/topology.ts';
import { inspect, provision } from './provision.ts';
import type { Topology } from './specs.ts';

const MIB = 2 ** 20;
const all = [
  ...topology.streams.map(({ name }) => name),
  ...topology.buckets.map(({ name }) => `KV_${name}`),
] as readonly string[];
const only = (name: string): Topology => ({
  streams: topology.streams.filter((spec) => spec.name === name).map((spec) => ({ ...spec, consumers: [] })),
  buckets: [],
});
const share = (name: string): number => topology.streams.find((spec) => spec.name === name)!.storeShare;

let server: NatsProcess | undefined;
let nc: NatsConnection;
let jsm: JetStreamManager;
async function start(config?: string): Promise<void> {
  server = await startNats(config === undefined ? {} : { config });
  nc = await connectNats({ url: server.url, name: 'room-test' });
  jsm = await jetstreamManager(nc, { checkAPI: false });
}
afterEach(async () => {
  await nc?.close();
  await server?.stop();
  server = undefined;
});
const limits = async (): Promise<number[]> =>
  Promise.all(all.map(async (name) => (await jsm.streams.info(name)).config.max_bytes));
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const limitOf = async (name: string): Promise<number> => (await jsm.streams.info(name)).config.max_bytes;

test('the shares of the store leave room for streams of later versions and for the indexes of the server', () => {
  const shares = [...topology.streams, ...topology.buckets].map(({ storeShare }) => storeShare);
  expect(Math.min(...shares)).toBeGreaterThan(0);
  expect(sum(shares)).toBeLessThan(0.88);
});

describe('what may be stored', () => {
  test('is a share of the setting for every stream and bucket, and each refuses when it is full', async () => {
    await start();
    await provision(nc, topology, { storeBytes: 1_000 * MIB });
    expect(Math.min(...(await limits()))).toBeGreaterThan(0);
    expect(sum(await limits())).toBeLessThanOrEqual(880 * MIB);
    for (const name of all) expect((await jsm.streams.info(name)).config.discard, name).toBe('new');
    expect(await inspect(nc, topology, { storeBytes: 1_000 * MIB })).toEqual([]);
  });

  test('is a share of the limit of the account where that is less', async () => {
    await start('accounts { A { users: [{ user: a, password: a }], jetstream: { max_file: 200M } } }\nno_auth_user: a');
    await provision(nc, topology, { storeBytes: 1_000 * MIB });
    expect(sum(await limits())).toBeLessThanOrEqual(0.88 * 200 * MIB);
  });

  test('is divided anew when jobs are divided over more streams, on a server that has no room for more', async () => {
    await start('jetstream { max_file_store: 100M }');
    const storeBytes = 100_000_000;
    await provision(nc, topology, { storeBytes });
    const before = await limitOf('JOBS');
    await provision(nc, topologyOf(4), { storeBytes });
    const names = ['JOBS', 'JOBS_1', 'JOBS_2', 'JOBS_3'];
    for (const name of names) expect(await limitOf(name), name).toBe(Math.floor((0.27 / 4) * storeBytes));
    expect(sum(await Promise.all(names.map(limitOf)))).toBeLessThanOrEqual(before);
    expect(await inspect(nc, topologyOf(4), { storeBytes })).toEqual([]);
    expect((await provision(nc, topologyOf(4), { storeBytes })).updated).toEqual([]);
  });

  test('of jobs is not lowered under what they hold', async () => {
    await start();
    const storeBytes = 20 * MIB;
    await provision(nc, topology, { storeBytes });
    const before = await limitOf('JOBS');
    const body = new Uint8Array(64 * 1024);
    for (let n = 0; n * body.length < before / 2; n += 1) await jetstream(nc).publish(`jobs.${n}`, body);
    await provision(nc, topologyOf(4), { storeBytes });
    expect(await limitOf('JOBS')).toBe(before);
  });

  test('that is more than the server has names the setting', async () => {
    await start('jetstream { max_file_store: 100M }');
    await expect(provision(nc, topology)).rejects.toThrow(/JOBS could not be made: .*set NATS_STORE_BYTES/);
    await provision(nc, topology, { storeBytes: 100_000_000 });
    expect(await inspect(nc, topology, { storeBytes: 100_000_000 })).toEqual([]);
  });
});

describe('max_bytes of a stream', () => {
  beforeEach(() => start());
  const jobs = only('JOBS');

  test('follows a larger store, is never lowered, and stays as an operator set it', async () => {
    const wanted = (mib: number): number => Math.floor(share('JOBS') * mib * MIB);
    await provision(nc, jobs, { storeBytes: 100 * MIB });
    expect((await provision(nc, jobs, { storeBytes: 200 * MIB })).updated.map((d) => d.setting)).toEqual(['max_bytes']);
    expect(await limitOf('JOBS')).toBe(wanted(200));
    const smaller = await provision(nc, jobs, { storeBytes: 100 * MIB });
    expect([smaller.updated, smaller.kept]).toEqual([[], []]);
    expect(await limitOf('JOBS')).toBe(wanted(200));
    // As another gateway with the larger setting does in its turn: no ping-pong between the two.
    expect((await provision(nc, jobs, { storeBytes: 200 * MIB })).updated).toEqual([]);

    await jsm.streams.update('JOBS', { max_bytes: 7 * MIB });
    const { updated, kept } = await provision(nc, jobs, { storeBytes: 400 * MIB });
    expect([updated, kept.map((d) => `${d.where} ${d.setting}`)]).toEqual([[], ['JOBS max_bytes']]);
    expect(await limitOf('JOBS')).toBe(7 * MIB);
  });

  test('is set on a stream of a version that set none, and not where an operator lifted it', async () => {
    await provision(nc, jobs, { storeBytes: 100 * MIB });
    await jsm.streams.update('JOBS', { max_bytes: -1 });
    await provision(nc, jobs, { storeBytes: 100 * MIB });
    expect(await limitOf('JOBS')).toBe(-1);
    await jsm.streams.update('JOBS', { metadata: {} });
    await provision(nc, jobs, { storeBytes: 100 * MIB });
    expect(await limitOf('JOBS')).toBe(Math.floor(share('JOBS') * 100 * MIB));
  });

  test('that the server cannot give is reported, keeps nothing from starting, and is set once it can', async () => {
    await nc.close();
    await server!.stop();
    await start('jetstream { max_file_store: 100M }');
    await provision(nc, jobs, { storeBytes: 50_000_000 });
    const { notRaised } = await provision(nc, jobs, { storeBytes: 1_000_000_000 });
    expect(notRaised).toMatchObject([{ where: 'JOBS', setting: 'max_bytes', wanted: 1e9 * share('JOBS') }]);
    expect(await limitOf('JOBS')).toBe(50_000_000 * share('JOBS'));
    expect((await provision(nc, jobs, { storeBytes: 90_000_000 })).updated).toHaveLength(1);
    expect(await limitOf('JOBS')).toBe(90_000_000 * share('JOBS'));
  });
});

// nats-server up to 2.10.4 deleted accepted messages of such a stream to make room for larger ones (nats-server#4771).
test('a work queue that is full of bytes refuses, keeps every message it accepted, and takes more when there is room', async () => {
  await start();
  await provision(nc, only('EMAILS'), { storeBytes: 20 * MIB });
  const js = jetstream(nc);
  const accepted: number[] = [];
  let refused = 0;
  for (let n = 0; n < 6_000; n += 200) {
    // Sizes that do not fit and sizes that do, one after the other, many at once.
    const sizes = Array.from({ length: 200 }, (_, i) => ((n + i) * 7_919) % 2_000);
    const answers = await Promise.allSettled(
      sizes.map((size) => js.publish('email.send.welcome', Buffer.alloc(size, 'x'))),
    );
    for (const answer of answers) {
      if (answer.status === 'fulfilled') accepted.push(answer.value.seq);
      else {
        refused += 1;
        expect(String(answer.reason)).toContain('maximum bytes exceeded');
      }
    }
  }
  expect(refused).toBeGreaterThan(1_000);
  const { state, config } = await jsm.streams.info('EMAILS');
  expect([state.messages, state.first_seq]).toEqual([accepted.length, 1]);
  expect(state.bytes).toBeLessThanOrEqual(config.max_bytes);

  await server!.restart();
  await expect.poll(() => jsm.streams.info('EMAILS').then(({ state: after }) => after.messages)).toBe(accepted.length);
  // How many fit depends on how many streams share the store.
  for (const sequence of accepted.slice(10, 12)) await jsm.streams.deleteMessage('EMAILS', sequence);
  expect((await js.publish('email.send.welcome', Buffer.alloc(10))).seq).toBeGreaterThan(accepted.at(-1)!);
});
