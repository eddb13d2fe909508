import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { ConsumerConfig, JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import { startFaultProxy, startNats } from '@sluice/dev';
import type { FaultProxy, NatsProcess } from '@sluice/dev';
import type { NatsPort, PipelineEvent, PipelineSpec } from '../src/index.ts';
import { natsPort } from '../src/nats.ts';
import type { ClosableNatsPort } from '../src/nats.ts';

export const NS = 1_000_000;

/** A broker to test against, whatever it is made of. */
export interface Broker {
  readonly name: string;
  readonly url: string;
  readonly server: NatsProcess;
  readonly admin: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  close(): Promise<void>;
}

export async function startBroker(series?: string): Promise<Broker> {
  const server = await startNats(series === undefined ? {} : { series });
  const admin = await connect({
    servers: server.url,
    noAsyncTraces: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  const jsm = await jetstreamManager(admin);
  await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'], duplicate_window: 120_000 * NS });
  return {
    name: `nats-server ${server.version ?? server.from}`,
    url: server.url,
    server,
    admin,
    js: jetstream(admin),
    jsm,
    async close() {
      await admin.close();
      await server.stop();
    },
  };
}

/** One stream with one durable consumer and its own connection: what one test works on. */
export interface Workplace {
  readonly stream: string;
  readonly consumer: string;
  readonly port: ClosableNatsPort;
  readonly connection: NatsConnection;
  /** Between the pipeline's connection and the server, to break it. */
  readonly wire: FaultProxy | undefined;
  /** Stores messages; resolves with their sequences. */
  send(...bodies: readonly unknown[]): Promise<number[]>;
  sendRaw(
    body: Uint8Array | string,
    options?: { id?: string; headers?: Readonly<Record<string, string>>; subject?: string },
  ): Promise<number>;
  /** Messages left in the work queue. */
  left(): Promise<number>;
  ackPending(): Promise<number>;
  deadLetters(): Promise<DeadLetter[]>;
  close(): Promise<void>;
}

export interface DeadLetter {
  readonly sequence: number;
  readonly body: string;
  readonly headers: ReadonlyMap<string, string>;
}

let places = 0;

export async function makeWorkplace(
  broker: Broker,
  options: {
    ackWaitMs?: number;
    consumer?: Partial<ConsumerConfig>;
    wire?: boolean;
    connect?: NodeConnectionOptions;
  } = {},
): Promise<Workplace> {
  const stream = `W${++places}`;
  const consumer = 'worker';
  await broker.jsm.streams.add({ name: stream, subjects: [`${stream}.>`], retention: 'workqueue' });
  await broker.jsm.consumers.add(stream, {
    durable_name: consumer,
    ack_policy: 'explicit',
    ack_wait: (options.ackWaitMs ?? 30_000) * NS,
    max_deliver: -1,
    ...options.consumer,
  });
  const wire = options.wire === true ? await startFaultProxy({ targetPort: broker.server.port }) : undefined;
  const connection = await connect({
    servers: wire === undefined ? broker.url : `127.0.0.1:${wire.port}`,
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    ...options.connect,
  });
  const port = natsPort(connection, { headers });
  return {
    stream,
    consumer,
    port,
    connection,
    wire,
    send: (...bodies) =>
      Promise.all(bodies.map(async (body) => (await broker.js.publish(`${stream}.a`, JSON.stringify(body))).seq)),
    async sendRaw(body, { id, headers: pairs, subject } = {}) {
      const carried = headers();
      for (const [name, value] of Object.entries(pairs ?? {})) carried.set(name, value);
      const ack = await broker.js.publish(subject ?? `${stream}.a`, body, {
        headers: carried,
        ...(id === undefined ? {} : { msgID: id }),
      });
      return ack.seq;
    },
    left: async () => (await broker.jsm.streams.info(stream)).state.messages,
    ackPending: async () => (await broker.jsm.consumers.info(stream, consumer)).num_ack_pending,
    deadLetters: () => readDeadLetters(broker, `dlq.${stream}.${consumer}`),
    async close() {
      port.close();
      await connection.close();
      await wire?.close();
      await broker.jsm.streams.delete(stream);
    },
  };
}

async function readDeadLetters(broker: Broker, subject: string): Promise<DeadLetter[]> {
  const { state } = await broker.jsm.streams.info('DLQ');
  const records: DeadLetter[] = [];
  for (let sequence = state.first_seq; sequence <= state.last_seq; sequence++) {
    const stored = await broker.jsm.streams.getMessage('DLQ', { seq: sequence });
    if (stored === null || stored.subject !== subject) continue;
    const pairs = stored.header.keys().map((name): [string, string] => [name, stored.header.get(name)]);
    records.push({ sequence, body: new TextDecoder().decode(stored.data), headers: new Map(pairs) });
  }
  return records;
}

/** Events of a pipeline, kept and waited for. */
export interface EventLog {
  readonly all: PipelineEvent[];
  readonly observe: (event: PipelineEvent) => void;
  of<K extends PipelineEvent['type']>(type: K): Extract<PipelineEvent, { type: K }>[];
}

export function recordEvents(): EventLog {
  const all: PipelineEvent[] = [];
  return {
    all,
    observe: (event) => void all.push(event),
    of: <K extends PipelineEvent['type']>(type: K) =>
      all.filter((event): event is Extract<PipelineEvent, { type: K }> => event.type === type),
  };
}

/** A promise settled by hand. */
export function gate<T = void>(): { readonly opened: Promise<T>; open(value: T): void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve };
}

export type Job = { readonly n: number; readonly key?: string };

export const decodeJson = (bytes: Uint8Array): Job => JSON.parse(new TextDecoder().decode(bytes)) as Job;

/** The parts of a spec most tests share: quick pulls and quick retries. */
export const base = (
  place: Pick<Workplace, 'stream' | 'consumer'>,
): Pick<PipelineSpec<Job, undefined>, 'name' | 'sources' | 'decode' | 'flow' | 'retry'> => ({
  name: 'conformance',
  sources: [{ stream: place.stream, consumer: place.consumer }],
  decode: decodeJson,
  flow: { concurrency: 4, expiresMs: 1000, idleHeartbeatMs: 200 },
  retry: { maxAttempts: 3, baseMs: 20, maxMs: 100 },
});

export type { NatsPort };
