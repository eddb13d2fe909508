import { createConnection } from 'node:net';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { startFaultProxy, startNats, startNatsCluster } from '@sluice/dev';
import type { FaultProxy, NatsProcess } from '@sluice/dev';
import { ensureDelayedStream } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import type { ClosableNatsPort } from '../src/nats/index.ts';
import { partitionTransform } from '../src/partitions/subject-transform.ts';
import type { Place, PlaceOptions, Source, Stored } from '../src/conformance/source.ts';

const NS = 1_000_000;
/** More than a busy machine takes to run a process again. */
const PIN_TTL_MS = 20_000;

/** A real nats-server, the pipeline's connection running through a proxy that can break it. */
export interface NatsSource extends Source {
  readonly server: NatsProcess;
  readonly admin: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly js: JetStreamClient;
}

/**
 * The newest server at hand, one of a series, or (`SLUICE_CONFORMANCE=cluster`) three of them with three copies of
 * everything.
 */
export async function natsSource(series?: string): Promise<NatsSource> {
  const cluster = process.env['SLUICE_CONFORMANCE'] === 'cluster' ? await startNatsCluster() : undefined;
  const [node] = [...(cluster?.nodes.values() ?? [])];
  const server = node ?? (await startNats(series === undefined ? {} : { series }));
  const replicas = cluster === undefined ? 1 : 3;
  const admin = await dial(server.url);
  const jsm = await jetstreamManager(admin, { timeout: 30_000 });
  const js = jetstream(admin, { timeout: 30_000 });
  let places = 0;
  const minor = Number((admin.info?.version ?? '').split('.')[1]);
  return {
    name: `nats-server ${server.version ?? server.from}`,
    schedules: minor >= 12,
    pinning: minor >= 11,
    server,
    admin,
    jsm,
    js,
    place: (options = {}) => makePlace({ server, jsm, js, replicas }, `W${++places}`, options),
    async close() {
      await admin.close();
      await (cluster ?? server).stop();
    },
  };
}

/** A connection that never gives up and looks often whether it can be had again. */
export const dial = (url: string): Promise<NatsConnection> =>
  connect({
    servers: url,
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    timeout: 20_000,
  });

async function makePlace(
  { server, jsm, js, replicas }: { server: NatsProcess; jsm: JetStreamManager; js: JetStreamClient; replicas: number },
  stream: string,
  options: PlaceOptions,
): Promise<Place> {
  const consumer = 'worker';
  const ackWaitMs = options.ackWaitMs ?? 30_000;
  const wire: FaultProxy = await startFaultProxy({ targetPort: server.port });
  const connections: NatsConnection[] = [];
  const ports: ClosableNatsPort[] = [];
  const open = async (url: string): Promise<ClosableNatsPort> => {
    const connection = await dial(url);
    const port = natsPort(connection);
    connections.push(connection);
    ports.push(port);
    return port;
  };
  const addConsumer = async (name: string, waitMs: number): Promise<void> => {
    await jsm.consumers.add(stream, {
      durable_name: name,
      ack_policy: 'explicit',
      ack_wait: waitMs * NS,
      max_deliver: options.maxDeliver ?? -1,
      max_ack_pending: options.maxAckPending ?? 1000,
      ...(options.lanes === undefined ? {} : { filter_subject: `${stream}.${name}` }),
    });
  };
  const addDeadLetters = async (): Promise<void> => {
    await jsm.streams.add({ name: `DLQ_${stream}`, subjects: [`dlq.${stream}.>`], num_replicas: replicas });
  };
  const addStream = async (): Promise<void> => {
    await jsm.streams.add({
      name: stream,
      subjects: [`${stream}.>`],
      retention: 'workqueue',
      num_replicas: replicas,
    });
  };
  const addPartitions = async (count: number): Promise<void> => {
    const { src, dest } = partitionTransform(count, `${stream}.*`);
    await jsm.streams.add({
      name: stream,
      subjects: [`${stream}.*`],
      retention: 'workqueue',
      num_replicas: replicas,
      subject_transform: { src, dest },
    });
    for (let number = 0; number < count; number++) {
      await jsm.consumers.add(stream, {
        durable_name: `${consumer}-${number}`,
        ack_policy: 'explicit',
        ack_wait: ackWaitMs * NS,
        max_deliver: -1,
        filter_subject: `${number}.>`,
        priority_groups: ['partition'],
        priority_policy: 'pinned_client',
        priority_timeout: (options.pinTtlMs ?? PIN_TTL_MS) * NS,
      });
    }
  };
  if (options.partitions === undefined) await addStream();
  else await addPartitions(options.partitions);
  await jsm.streams.add({ name: `OUT_${stream}`, subjects: [`out.${stream}.>`], num_replicas: replicas });
  await addDeadLetters();
  if (options.partitions === undefined)
    for (const name of [consumer, ...(options.lanes ?? [])]) await addConsumer(name, ackWaitMs);
  if (options.delayed === true) {
    const admin = await open(server.url);
    await ensureDelayedStream(admin, { stream: `LATER_${stream}`, subject: `later.${stream}`, replicas });
    await jsm.consumers.add(`LATER_${stream}`, {
      durable_name: 'due',
      ack_policy: 'explicit',
      max_deliver: -1,
      filter_subject: `later.${stream}.due.>`,
    });
  }
  if (options.limits === true) {
    const bucket = `limits_${stream}`;
    await jsm.streams.add({
      name: `KV_${bucket}`,
      subjects: [`$KV.${bucket}.>`],
      max_msgs_per_subject: 1,
      max_age: 60_000 * NS,
      duplicate_window: 60_000 * NS,
      discard: 'new',
      num_replicas: replicas,
    });
  }
  const port = await open(`127.0.0.1:${wire.port}`);
  return {
    stream,
    consumer,
    port,
    connect: () => open(server.url),
    async send(...bodies) {
      const sequences: number[] = [];
      for (const body of bodies) sequences.push((await js.publish(`${stream}.${consumer}`, JSON.stringify(body))).seq);
      return sequences;
    },
    async store(body, { id, headers: pairs, lane } = {}) {
      const carried = headers();
      for (const [name, value] of Object.entries(pairs ?? {})) carried.set(name, value);
      const message = { headers: carried, ...(id === undefined ? {} : { msgID: id }) };
      return (await js.publish(`${stream}.${lane ?? consumer}`, body, message)).seq;
    },
    storeForeign: (headerLine, body) => publishRaw(server.port, `${stream}.${consumer}`, headerLine, body),
    left: async () => (await jsm.streams.info(stream)).state.messages,
    ackPending: async () => (await jsm.consumers.info(stream, consumer)).num_ack_pending,
    deadLetters: () => readAll(jsm, `DLQ_${stream}`),
    emitted: () => readAll(jsm, `OUT_${stream}`),
    async loseDeadLetters() {
      await jsm.streams.delete(`DLQ_${stream}`);
    },
    restoreDeadLetters: addDeadLetters,
    cut: () => wire.down(),
    restore: () => wire.up(),
    partition: (on) => wire.set(on ? { both: { blackhole: true } } : undefined),
    async closeConnection() {
      await connections[0]?.close();
    },
    async setAckWait(waitMs) {
      await jsm.consumers.update(stream, consumer, { ack_wait: waitMs * NS });
    },
    async makeStreamAgain() {
      await jsm.streams.delete(stream);
      await addStream();
      await addConsumer(consumer, ackWaitMs);
    },
    async deleteConsumer() {
      await jsm.consumers.delete(stream, consumer);
    },
    makeConsumer: (otherAckWaitMs = ackWaitMs) => addConsumer(consumer, otherAckWaitMs),
    async close() {
      for (const one of ports) one.close();
      await Promise.all(connections.map((connection) => connection.close()));
      await wire.close();
      for (const name of [stream, `OUT_${stream}`, `DLQ_${stream}`, `LATER_${stream}`, `KV_limits_${stream}`])
        await jsm.streams.delete(name).catch(() => false);
    },
  };
}

/** Publishes over a bare socket: nats.js would refuse the header. */
async function publishRaw(port: number, subject: string, headerLine: string, body: string): Promise<void> {
  const head = Buffer.from(`NATS/1.0\r\n${headerLine}\r\n\r\n`);
  const sizes = `${head.length} ${head.length + Buffer.byteLength(body)}`;
  const connecting = 'CONNECT {"verbose":false,"headers":true,"protocol":1}';
  const socket = createConnection(port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.on('data', (bytes) => {
      if (bytes.includes('PONG')) resolve();
    });
    socket.write(
      Buffer.concat([
        Buffer.from(`${connecting}\r\nHPUB ${subject} ${sizes}\r\n`),
        head,
        Buffer.from(`${body}\r\nPING\r\n`),
      ]),
    );
  });
  socket.destroy();
}

async function readAll(jsm: JetStreamManager, stream: string): Promise<Stored[]> {
  const { state } = await jsm.streams.info(stream);
  const found: Stored[] = [];
  if (state.messages === 0) return found;
  for (let sequence = state.first_seq; sequence <= state.last_seq; sequence++) {
    const message = await jsm.streams.getMessage(stream, { seq: sequence });
    if (message === null) continue;
    const pairs = message.header.keys().map((name): [string, string] => [name, message.header.get(name)]);
    found.push({
      sequence,
      subject: message.subject,
      body: new TextDecoder().decode(message.data),
      headers: new Map(pairs),
    });
  }
  return found;
}
