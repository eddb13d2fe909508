import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectNats } from '../nats/connection.ts';
import { topology, type StreamSpec, type Topology } from '../topology/topology.ts';
import { inspect, provision } from './provision.ts';

let server: NatsProcess;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server?.stop());

const withJobsConsumers = (edit: (spec: StreamSpec) => StreamSpec['consumers']): Topology => ({
  ...topology,
  streams: topology.streams.map((spec) => (spec.name === 'JOBS' ? { ...spec, consumers: edit(spec) } : spec)),
});

test('a consumer that is added later begins behind what the other one has acknowledged', async () => {
  const nc = await connectNats({ url: server.url, name: 'start-behind-test' });
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await provision(
    nc,
    withJobsConsumers((spec) => spec.consumers.filter(({ name }) => name === 'orchestrator')),
  );
  for (let n = 1; n <= 5; n += 1) await js.publish(`jobs.${n}`, 'x');
  const orchestrator = await js.consumers.get('JOBS', 'orchestrator');
  for (let n = 1; n <= 3; n += 1) await (await orchestrator.next())!.ackAck();

  await provision(nc, topology);
  const { config, num_pending } = await jsm.consumers.info('JOBS', 'client_callbacks');
  expect(config).toMatchObject({ headers_only: true, opt_start_seq: 4 });
  expect(num_pending).toBe(2);
  expect(await inspect(nc, topology)).toEqual([]);
  const { created, updated } = await provision(nc, topology);
  expect([created, updated]).toEqual([[], []]);
  await nc.close();
});
