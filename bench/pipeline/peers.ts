// The same jobs through the engine, a raw loop, nats.js by itself, BullMQ on Redis, graphile-worker and pg-boss on PostgreSQL:
// enqueue, process, latency at rest, memory, and the CPU of client and server for each job. In one run, in alternation, medians.
import { findPostgres, startPostgres } from '@sluice/dev';
import type { JetStreamManager } from '@nats-io/jetstream';
import { besideNoop } from '../frame/noop.ts';
import { proportionalBytesOf, treeMsOf } from '../processes.ts';
import type { Row } from '../run.ts';
import { median } from './meter.ts';
import type { PeerKind, PeerOrder, PeerReport } from './peer-worker.ts';
import { startRedis } from './redis.ts';
import { inProcess } from './throughput.ts';

const CONCURRENCY = 64;

const NAMES: Readonly<Record<PeerKind, string>> = {
  engine: 'engine',
  raw: 'raw loop',
  'nats.js': 'nats.js, consume()',
  bullmq: 'BullMQ',
  graphile: 'graphile-worker',
  'graphile-batched': 'graphile-worker, batched',
  'pg-boss': 'pg-boss',
};

/** What a run saw, with what the server behind it used. */
interface Seen extends PeerReport {
  readonly serverCpuUs: number;
  readonly serverBytes: number;
}

export async function peers(
  { jsm, url, pid }: { jsm: JetStreamManager; url: string; pid: number },
  options: { readonly rounds: number; readonly count: number },
): Promise<{ readonly rows: readonly Row[]; readonly notes: readonly string[] }> {
  const notes: string[] = [];
  const redis = await startRedis();
  if (redis === undefined) notes.push('BullMQ skipped: no redis-server on PATH, nor in REDIS_SERVER_BIN');
  else
    notes.push(`BullMQ on Redis ${redis.version}: fsync of the append-only file every second (appendfsync everysec)`);
  const bin = findPostgres();
  const postgres = bin === undefined ? undefined : await startPostgres(bin);
  if (postgres === undefined) notes.push('graphile-worker and pg-boss skipped: initdb and postgres are not installed');
  else
    notes.push(
      'graphile-worker and pg-boss on PostgreSQL with fsync off: no fsync before an answer there, as at nats-server',
    );
  notes.push(
    'engine, raw loop and nats.js on nats-server with its default sync_interval: fsync every two minutes, none before an answer',
    'server CPU: of enqueue and process together, warming up included; the memory of a server is that after its run',
    'nestjs-jetstream is not measured: what the npm registry has of it (1.0.6) stands on the retired nats package, version 2',
  );
  const kinds: readonly PeerKind[] = [
    'engine',
    'raw',
    'nats.js',
    ...(redis === undefined ? [] : (['bullmq'] as const)),
    ...(postgres === undefined ? [] : (['graphile', 'graphile-batched', 'pg-boss'] as const)),
  ];
  const reports = new Map<PeerKind, Seen[]>(kinds.map((kind) => [kind, []]));
  try {
    for (let round = 0; round < options.rounds; round++) {
      for (const kind of kinds) {
        const order: PeerOrder = {
          kind,
          nats: url,
          redis: redis?.port ?? 0,
          postgres: postgres === undefined ? '' : await postgres.newDatabase(),
          concurrency: CONCURRENCY,
          warmup: Math.ceil(options.count / 10),
          count: options.count,
          looks: 40,
        };
        const isNats = kind === 'engine' || kind === 'raw' || kind === 'nats.js';
        if (isNats) await makeStreams(jsm);
        const server = isNats ? pid : kind === 'bullmq' ? (redis?.pid ?? 0) : (postgres?.pid ?? 0);
        // PostgreSQL ends the process of each connection with it: its time is then that of its parent.
        const beforeMs = treeMsOf(server);
        const report = await inProcess<PeerReport>('peer-worker.ts', order);
        const serverCpuUs = ((treeMsOf(server) - beforeMs) * 1e3) / (order.warmup + order.count);
        reports.get(kind)?.push({ ...report, serverCpuUs, serverBytes: proportionalBytesOf(server) });
      }
    }
  } finally {
    redis?.stop();
    await postgres?.stop();
  }
  return { rows: kinds.flatMap((kind) => rowsOf(kind, reports)), notes };
}

/** A work queue: a job is gone when it is acknowledged, as at the peers. */
async function makeStreams(jsm: JetStreamManager): Promise<void> {
  await jsm.streams.delete('PEER').catch(() => false);
  await jsm.streams.add({ name: 'PEER', subjects: ['peer.job'], retention: 'workqueue' });
  await jsm.consumers.add('PEER', {
    durable_name: 'peer',
    ack_policy: 'explicit',
    max_deliver: -1,
    max_ack_pending: 10_000,
  });
}

function rowsOf(kind: PeerKind, reports: ReadonlyMap<PeerKind, readonly Seen[]>): readonly Row[] {
  const figure = (of: PeerKind, read: (report: Seen) => number): number => median((reports.get(of) ?? []).map(read));
  const name = NAMES[kind];
  /** Beside a peer the engine has to be ahead: `ratio` says by how much. */
  const row = (what: string, unit: string, read: (report: Seen) => number, more: boolean): Row => {
    const value = figure(kind, read);
    const engine = figure('engine', read);
    const id = `${name}: ${what}`;
    if (kind === 'engine') return { id, value, unit, pass: true };
    const ratio = more ? engine / value : value / engine;
    // Neither is a job system: what they leave out (heartbeats, retries, dead letters) is what the engine costs.
    if (kind === 'nats.js') return { id, value, unit, ratio, pass: true };
    if (kind === 'raw') return more ? besideNoop({ id, value, unit, ratio }) : { id, value, unit, ratio, pass: true };
    return { id, value, unit, ratio, floor: 1, pass: ratio >= 1 };
  };
  const told = (what: string, unit: string, read: (report: Seen) => number): Row => {
    return { id: `${name}: ${what}`, value: figure(kind, read), unit, pass: true };
  };
  return [
    row('enqueue, 64 in flight', 'job/s', ({ enqueue }) => enqueue.perSecond, true),
    row('  client CPU', 'us/job', ({ enqueue }) => enqueue.cpuUs, false),
    row('process, 64 at once', 'job/s', ({ consume }) => consume.perSecond, true),
    row('  client CPU', 'us/job', ({ consume }) => consume.cpuUs, false),
    row('enqueue to handler when idle, p50', 'ms', ({ idleP50Ms }) => idleP50Ms, false),
    told('enqueue to handler when idle, p99', 'ms', ({ idleP99Ms }) => idleP99Ms),
    told('server CPU', 'us/job', ({ serverCpuUs }) => serverCpuUs),
    told('memory of the client at most', 'MB', ({ residentBytes }) => residentBytes / 1e6),
    told('memory of the server', 'MB', ({ serverBytes }) => serverBytes / 1e6),
  ];
}
