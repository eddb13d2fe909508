// One peer in a process of its own: `node peer-worker.ts '{"kind":...}'` prints one line of JSON. Each as its own
// documentation recommends for throughput, and woken when a job comes where it can be.
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Queue, Worker } from 'bullmq';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { PgBoss } from 'pg-boss';
import { definePipeline } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';
import { quantile, startMeter, type Reading } from './meter.ts';
import { decodePayload, payload } from './payload.ts';
import { rawPull } from './raw-pull.ts';

export type PeerKind = 'engine' | 'raw' | 'nats.js' | 'bullmq' | 'graphile' | 'graphile-batched' | 'pg-boss';

export interface PeerOrder {
  readonly kind: PeerKind;
  readonly nats: string;
  readonly redis: number;
  /** URL of an empty database. */
  readonly postgres: string;
  readonly concurrency: number;
  readonly warmup: number;
  readonly count: number;
  /** Jobs whose latency is taken, one at a time while nothing else is there. */
  readonly looks: number;
}
export interface PeerReport {
  readonly enqueue: Reading;
  readonly consume: Reading;
  readonly idleP50Ms: number;
  readonly idleP99Ms: number;
  /** The most resident memory of the process. */
  readonly residentBytes: number;
}

/** What a job system does here: jobs in, one handler. */
interface Peer {
  /** Stores jobs; those of one call may travel together. */
  enqueue(jobs: readonly Uint8Array[]): Promise<unknown>;
  /** Jobs of one call. */
  readonly enqueueSize: number;
  start(handle: (body: Uint8Array) => Promise<void>): Promise<unknown>;
}

const order = JSON.parse(process.argv[2] ?? '{}') as PeerOrder;
const { concurrency, warmup, count } = order;
// Jobs of the peers are JSON: the bytes travel as text.
const encode = (body: Uint8Array): { body: string } => ({ body: Buffer.from(body).toString('base64') });
const decode = ({ body }: { body: string }): Uint8Array => Buffer.from(body, 'base64');

async function engine(): Promise<Peer> {
  const port = natsPort(await connect({ servers: order.nats, noAsyncTraces: true }));
  return {
    enqueueSize: 1,
    enqueue: ([body]) => port.publish('peer.job', body ?? ''),
    start: (handle) =>
      definePipeline({
        name: 'peer',
        sources: [{ stream: 'PEER', consumer: 'peer' }],
        decode: (bytes) => bytes,
        flow: { concurrency },
        handle: async ({ data }) => handle(data),
      }).start({ nats: port, deps: undefined }),
  };
}

/** The least that can be: the engine's publisher, and a loop that pulls and acks and does nothing else. */
async function raw(): Promise<Peer> {
  const connection = await connect({ servers: order.nats, noAsyncTraces: true });
  const port = natsPort(connection);
  return {
    enqueueSize: 1,
    enqueue: ([body]) => port.publish('peer.job', body ?? ''),
    start: async (handle) =>
      rawPull(connection, {
        stream: 'PEER',
        consumer: 'peer',
        window: concurrency,
        onMessage: ({ data }) => handle(data),
        onAcked: () => undefined,
      }),
  };
}

/** nats.js by itself, as its documentation shows: `publish` and `consume`, with as many messages asked for at once. */
async function natsJs(): Promise<Peer> {
  const js = jetstream(await connect({ servers: order.nats }));
  return {
    enqueueSize: 1,
    enqueue: ([body]) => js.publish('peer.job', body ?? ''),
    start: async (handle) => {
      const consumer = await js.consumers.get('PEER', 'peer');
      return consumer.consume({
        max_messages: concurrency,
        callback: (message) => void handle(message.data).then(() => message.ack()),
      });
    },
  };
}

async function bullmq(): Promise<Peer> {
  const connection = { host: '127.0.0.1', port: order.redis, maxRetriesPerRequest: null };
  const queue = new Queue('bench', { connection });
  return {
    enqueueSize: 1,
    enqueue: ([body]) =>
      queue.add('job', encode(body ?? new Uint8Array(0)), { removeOnComplete: true, removeOnFail: true }),
    start: async (handle) =>
      new Worker<{ body: string }>('bench', (job) => handle(decode(job.data)), { connection, concurrency }),
  };
}

async function graphile(batched: boolean): Promise<Peer> {
  const logger = new Logger(() => () => undefined);
  const connectionString = order.postgres;
  const utils = await makeWorkerUtils({ connectionString, logger, maxPoolSize: 20 });
  await utils.migrate();
  return {
    enqueueSize: batched ? 50 : 1,
    enqueue: (jobs) =>
      batched
        ? utils.addJobs(jobs.map((body) => ({ identifier: 'job', payload: encode(body) })))
        : utils.addJob('job', encode(jobs[0] ?? new Uint8Array(0))),
    start: (handle) =>
      run({
        connectionString,
        logger,
        concurrency,
        noHandleSignals: true,
        maxPoolSize: 20,
        taskList: { job: (job) => handle(decode(job as { body: string })) },
        ...(batched
          ? { preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } } }
          : {}),
      }),
  };
}

async function pgBoss(): Promise<Peer> {
  const boss = new PgBoss({ connectionString: order.postgres, max: 20, useListenNotify: true });
  boss.on('error', () => undefined);
  await boss.start();
  await boss.createQueue('job', { notify: true });
  return {
    enqueueSize: 1,
    enqueue: ([body]) => boss.send('job', encode(body ?? new Uint8Array(0))),
    start: (handle) =>
      boss.work<{ body: string }>(
        'job',
        { batchSize: concurrency, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
        async (jobs) => {
          await Promise.all(jobs.map(({ data }) => handle(decode(data))));
        },
      ),
  };
}

const makers: Readonly<Record<PeerKind, () => Promise<Peer>>> = {
  engine,
  raw,
  'nats.js': natsJs,
  bullmq,
  graphile: () => graphile(false),
  'graphile-batched': () => graphile(true),
  'pg-boss': pgBoss,
};

const peer = await makers[order.kind]();
const body = payload();

async function enqueueAll(total: number): Promise<void> {
  let left = total;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      const size = Math.min(left, peer.enqueueSize);
      left -= size;
      await peer.enqueue(Array.from({ length: size }, () => body));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
}

await enqueueAll(warmup);
const enqueuing = startMeter();
await enqueueAll(count);
const enqueue = enqueuing(count);

const consumed = Promise.withResolvers<Reading>();
let done = 0;
let consuming: ((count: number) => Reading) | undefined;
let arrived: (() => void) | undefined;
await peer.start(async (bytes) => {
  decodePayload(bytes);
  done++;
  if (done === warmup) consuming = startMeter();
  if (done === warmup + count && consuming !== undefined) consumed.resolve(consuming(count));
  arrived?.();
});
const consume = await consumed.promise;
const latencies: number[] = [];
for (let look = 0; look < order.looks; look++) {
  const arrival = Promise.withResolvers<void>();
  arrived = arrival.resolve;
  // What follows the job before it, an ack or a commit, is over by then.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const sentAt = performance.now();
  await Promise.all([peer.enqueue([body]), arrival.promise.then(() => latencies.push(performance.now() - sentAt))]);
}
const report: PeerReport = {
  enqueue,
  consume,
  idleP50Ms: quantile(latencies, 0.5),
  idleP99Ms: quantile(latencies, 0.99),
  residentBytes: process.resourceUsage().maxRSS * 1024,
};
console.log(JSON.stringify(report));
process.exit(0);
