import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectNats } from '../nats/connection.ts';
import { inspect, provision, TopologyDriftError } from './provision.ts';
import { watchTopology } from './watch.ts';
import { topology, type StreamSpec, type Topology } from '../topology/topology.ts';

let server: NatsProcess;
let nc: NatsConnection;
let jsm: JetStreamManager;

beforeAll(async () => {
  server = await startNats();
  nc = await connectNats({ url: server.url, name: 'provision-test' });
  jsm = await jetstreamManager(nc);
});
afterAll(async () => {
  await nc?.close();
  await server?.stop();
});

const change = (stream: string, edit: (spec: StreamSpec) => StreamSpec): Topology => ({
  ...topology,
  streams: topology.streams.map((spec) => (spec.name === stream ? edit(spec) : spec)),
});

describe('provisioning the topology', () => {
  test('makes every stream and consumer, from three processes at once', async () => {
    const wanted = [
      ...topology.streams.flatMap((s) => [s.name, ...s.consumers.map((c) => `${s.name}/${c.name}`)]),
      ...topology.buckets.map(({ name }) => `KV_${name}`),
    ];
    expect(await inspect(nc, topology)).toHaveLength(wanted.length);
    await Promise.all([provision(nc, topology), provision(nc, topology), provision(nc, topology)]);
    expect(await inspect(nc, topology)).toEqual([]);
  });

  test('changes nothing the second time', async () => {
    expect(await provision(nc, topology)).toEqual({ created: [], updated: [], kept: [], notRaised: [], moved: [] });
  });

  test('updates what can be updated and says what', async () => {
    const longer = change('IMAGES', (spec) => ({ ...spec, duplicateWindowMs: 60_000 }));
    expect((await provision(nc, longer)).updated).toMatchObject([{ where: 'IMAGES', setting: 'duplicate_window' }]);
    const slower = change('IMAGES', (spec) => ({
      ...spec,
      consumers: spec.consumers.map((c) => ({ ...c, ackWaitMs: 45_000 })),
    }));
    expect((await provision(nc, slower)).updated.map((d) => `${d.where} ${d.setting}`)).toEqual([
      'IMAGES duplicate_window',
      'IMAGES/url_to_pdf ack_wait',
      'IMAGES/binary_to_pdf ack_wait',
    ]);
    await provision(nc, topology);
  });

  test('refuses a difference that no update can fix, prints it, and leaves the stream alone', async () => {
    const before = (await jsm.streams.info('EMAILS')).created;
    const drift = provision(
      nc,
      change('EMAILS', (spec) => ({ ...spec, kind: 'log' })),
    );
    await expect(drift).rejects.toThrow(TopologyDriftError);
    await expect(drift).rejects.toThrow(/EMAILS: retention is "workqueue", wanted "limits"/);
    expect((await jsm.streams.info('EMAILS')).created).toBe(before);
  });

  test('keeps the audit stream from being purged or edited', async () => {
    await expect(jsm.streams.purge('AUDIT')).rejects.toThrow();
    await expect(jsm.streams.deleteMessage('AUDIT', 1)).rejects.toThrow();
  });

  test('a bucket takes part', async () => {
    const { config } = await jsm.streams.info('KV_email_inbox');
    expect(config).toMatchObject({ subjects: ['$KV.email_inbox.>'], max_msgs_per_subject: 1, discard: 'new' });
    expect(config.max_age).toBe(14 * 24 * 3_600 * 1e9);
  });
});

describe('what an operator set on the server', () => {
  const first = async (name: string) => (await jsm.streams.info(name)).config;

  test('stays at the next start, is reported, and is the operator’s in the report', async () => {
    await jsm.streams.update('JOBS', {
      max_age: 30 * 86_400e9,
      max_bytes: 2 ** 30,
      max_msgs_per_subject: 100,
    });
    await jsm.streams.update('KV_flows', { max_msgs_per_subject: 5 });
    await jsm.consumers.update('JOBS', 'orchestrator', { max_ack_pending: 5_000 });
    const report = await provision(nc, topology);
    expect(report.updated).toEqual([]);
    const set = [
      'JOBS max_age',
      'JOBS max_bytes',
      'JOBS/orchestrator max_ack_pending',
      'KV_flows max_msgs_per_subject',
    ];
    expect(report.kept.map((d) => `${d.where} ${d.setting}`)).toEqual(set);
    const found = await inspect(nc, topology);
    expect(found.map((d) => `${d.where} ${d.setting} ${d.owner}`)).toEqual(set.map((line) => `${line} operator`));
    expect(await first('JOBS')).toMatchObject({
      max_age: 30 * 86_400e9,
      max_bytes: 2 ** 30,
      max_msgs_per_subject: 100,
    });
    expect((await jsm.consumers.info('JOBS', 'orchestrator')).config.max_ack_pending).toBe(5_000);
  });

  test('stays also when the topology has a new default, which arrives where no operator set a value', async () => {
    const next: Topology = {
      ...topology,
      streams: topology.streams.map((spec) =>
        spec.name === 'JOBS' || spec.name === 'EVENTS' ? { ...spec, maxAgeMs: 14 * 86_400_000 } : spec,
      ),
    };
    expect((await provision(nc, next)).updated.map((d) => `${d.where} ${d.setting}`)).toEqual(['EVENTS max_age']);
    expect((await first('JOBS')).max_age).toBe(30 * 86_400e9);
    expect((await first('EVENTS')).max_age).toBe(14 * 86_400e9);
    expect((await provision(nc, next)).updated).toEqual([]);
    await provision(nc, topology);
  });

  test('is replaced where it breaks a promise: an age on a work queue, a shorter window of duplicates', async () => {
    await jsm.streams.update('EMAILS', { max_age: 3_600e9, duplicate_window: 30e9 });
    expect((await inspect(nc, topology)).find((d) => d.where === 'EMAILS')?.owner).toBe('application');
    const { updated } = await provision(nc, topology);
    expect(updated.map((d) => `${d.where} ${d.setting}`)).toEqual(['EMAILS max_age', 'EMAILS duplicate_window']);
    expect(await first('EMAILS')).toMatchObject({ max_age: 0, duplicate_window: 120e9 });
  });

  test('is replaced where the code depends on it', async () => {
    const name = 'notification_mailer';
    await jsm.consumers.update('EMAILS', name, {
      headers_only: true,
      max_deliver: 3,
      filter_subjects: ['email.send.x'],
    });
    const { updated } = await provision(nc, topology);
    expect(updated.map(({ setting }) => setting).sort()).toEqual(['filter_subjects', 'headers_only', 'max_deliver']);
    const { config } = await jsm.consumers.info('EMAILS', name);
    expect(config).toMatchObject({ max_deliver: -1, filter_subjects: ['email.send.notification'] });
    expect(config.headers_only ?? false).toBe(false);
    expect((await provision(nc, topology)).updated).toEqual([]);
  });

  test('a priority group, in which the pulls of the engine would be refused, is taken away', async () => {
    await jsm.consumers.update('EMAILS', 'welcome_mailer', {
      priority_groups: ['a'],
      priority_policy: 'pinned_client',
    });
    expect((await provision(nc, topology)).updated).toMatchObject([{ setting: 'priority_groups' }]);
    expect((await jsm.consumers.info('EMAILS', 'welcome_mailer')).config).not.toHaveProperty('priority_groups');
  });
});

test('a copy that the server cannot place is reported, and keeps nothing from starting', async () => {
  const few = { streams: [], buckets: topology.buckets.filter(({ name }) => name === 'flows') };
  const { notRaised } = await provision(nc, few, { replicas: 3 });
  expect(notRaised).toMatchObject([{ where: 'KV_flows', setting: 'num_replicas', wanted: 3 }]);
  expect((await inspect(nc, few, { replicas: 3 })).map((d) => d.setting)).toContain('num_replicas');
});

test('what cannot be made says which setting to change', async () => {
  await expect(
    provision(
      nc,
      { streams: [], buckets: [{ name: 'copies', about: '', ttlMs: 0, storeShare: 0.001 }] },
      { replicas: 3 },
    ),
  ).rejects.toThrow(/KV_copies could not be made: .*NATS_REPLICAS/);
});

test('the watch tells of what differs once, and of its end', async () => {
  const lines: string[] = [];
  const told = (fields: object, text: string) => lines.push(`${text}: ${JSON.stringify(fields)}`);
  const watch = watchTopology(nc, topology, { log: { info: told, warn: told } });
  await watch.look();
  lines.length = 0;
  await jsm.consumers.update('CLIENTS', 'callbacks', { headers_only: true });
  await watch.look();
  await watch.look();
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/CLIENTS\/callbacks: headers_only is true.*set at the next start/);
  expect(watch.differences().map((d) => d.setting)).toContain('headers_only');
  await provision(nc, topology);
  await watch.look();
  expect(lines[1]).toMatch(/again/);
  watch.close();
});
