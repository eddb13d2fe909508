import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectNats } from '../nats/connection.ts';
import { inspect, provision, TopologyDriftError } from './provision.ts';
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
  streams: topology.streams.map((spec) => (spec.name === stream ? edit(spec) : spec)),
});

describe('provisioning the topology', () => {
  test('makes every stream and consumer, from three processes at once', async () => {
    const wanted = topology.streams.flatMap((s) => [s.name, ...s.consumers.map((c) => `${s.name}/${c.name}`)]);
    expect(await inspect(nc, topology)).toHaveLength(wanted.length);
    await Promise.all([provision(nc, topology), provision(nc, topology), provision(nc, topology)]);
    expect(await inspect(nc, topology)).toEqual([]);
  });

  test('changes nothing the second time', async () => {
    expect(await provision(nc, topology)).toEqual({ created: [], updated: [] });
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

  test('refuses a difference that no update can mend, prints it, and leaves the stream alone', async () => {
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
});
