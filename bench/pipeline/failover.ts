// The consumer's leader is killed while the client stays connected: how long until the next message is handled.
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { startNatsCluster, type NatsCluster } from '@sluice/dev';
import { definePipeline } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';
import type { Row } from '../run.ts';
import { median } from './meter.ts';

const GIVE_UP_MS = 90_000;

interface Outage {
  /** Until the consumer had a leader again. */
  readonly electedMs: number;
  /** Until a message stored after the election was handled. */
  readonly engineMs: number;
  readonly clientMs: number;
}

export async function failover(rounds: number): Promise<readonly Row[]> {
  const outages: Outage[] = [];
  for (let round = 0; round < rounds; round++) outages.push(await oneOutage());
  const figure = (of: (outage: Outage) => number): number => median(outages.map(of)) / 1000;
  const ratio = median(outages.map(({ electedMs, engineMs }) => electedMs / engineMs));
  return [
    { id: 'leader killed: consumer elected again', value: figure(({ electedMs }) => electedMs), unit: 's', pass: true },
    {
      id: '  engine consuming again (election to engine)',
      value: figure(({ engineMs }) => engineMs),
      unit: 's',
      ratio,
      floor: 1 / 1.5,
      pass: ratio >= 1 / 1.5,
    },
    {
      id: '  consume() as it comes, consuming again',
      value: figure(({ clientMs }) => clientMs),
      unit: 's',
      pass: true,
    },
  ];
}

async function oneOutage(): Promise<Outage> {
  const cluster = await startNatsCluster();
  const connections: NatsConnection[] = [];
  try {
    return await measure(cluster, connections);
  } finally {
    await Promise.all(connections.map((connection) => connection.close()));
    await cluster.stop();
  }
}

async function measure(cluster: NatsCluster, connections: NatsConnection[]): Promise<Outage> {
  const first = await connect({ servers: [...cluster.urls] });
  const jsm = await jetstreamManager(first);
  await jsm.streams.add({ name: 'WORK', subjects: ['work.>'], num_replicas: 3 });
  await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'], num_replicas: 3 });
  // Two consumers with one leader, so that one kill stops both loops.
  const leaderOf = async (name: string): Promise<string> =>
    (await jsm.consumers.info('WORK', name)).cluster?.leader ?? '';
  await jsm.consumers.add('WORK', { durable_name: 'engine', ack_policy: 'explicit', max_deliver: -1 });
  const leader = await leaderOf('engine');
  let client = 'client0';
  for (let tries = 1; tries <= 40; tries++) {
    await jsm.consumers.add('WORK', { durable_name: client, ack_policy: 'explicit', max_deliver: -1 });
    if ((await leaderOf(client)) === leader) break;
    client = `client${tries}`;
  }
  await first.close();
  const others = [...cluster.nodes].filter(([name]) => name !== leader).map(([, node]) => node.url);
  const dial = async (): Promise<NatsConnection> => {
    const connection = await connect({ servers: others, ignoreClusterUpdates: true, maxReconnectAttempts: -1 });
    connections.push(connection);
    return connection;
  };
  const [forEngine, forClient, watching] = await Promise.all([dial(), dial(), dial()]);
  const marks = { engine: 0, client: 0 };
  const reached = Promise.withResolvers<void>();
  const mark = (who: 'engine' | 'client', data: Uint8Array): void => {
    if (new TextDecoder().decode(data) !== 'after' || marks[who] > 0) return;
    marks[who] = performance.now();
    if (marks.engine > 0 && marks.client > 0) reached.resolve();
  };
  const running = await definePipeline({
    name: 'survivor',
    sources: [{ stream: 'WORK', consumer: 'engine' }],
    decode: (bytes) => bytes,
    handle: async ({ data }) => mark('engine', data),
  }).start({ nats: natsPort(forEngine), deps: undefined });
  const consumer = await jetstream(forClient).consumers.get('WORK', client);
  const messages = await consumer.consume({
    callback: (message) => {
      mark('client', message.data);
      message.ack();
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));

  const killedAt = performance.now();
  await cluster.nodes.get(leader)?.kill();
  const watch = await jetstreamManager(watching, { checkAPI: false, timeout: 500 });
  let electedAt = 0;
  while (electedAt === 0 && performance.now() - killedAt < GIVE_UP_MS) {
    const info = await watch.consumers.info('WORK', 'engine').catch(() => undefined);
    const now = info?.cluster?.leader;
    if (now !== undefined && now !== '' && now !== leader) electedAt = performance.now();
    else await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const js = jetstream(watching, { timeout: 500 });
  while ((await js.publish('work.a', 'after', { msgID: 'after' }).catch(() => undefined)) === undefined);
  const limit = new Promise<void>((resolve) => {
    setTimeout(resolve, GIVE_UP_MS).unref();
  });
  await Promise.race([reached.promise, limit]);
  void messages.close();
  await running.drain({ timeoutMs: 100 });
  const until = (at: number): number => (at === 0 ? GIVE_UP_MS : at) - (at === 0 ? 0 : killedAt);
  return { electedMs: until(electedAt), engineMs: until(marks.engine), clientMs: until(marks.client) };
}
