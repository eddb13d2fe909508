// The same jobs through the engine, BullMQ on Redis, graphile-worker and pg-boss on PostgreSQL: enqueue, process, latency,
// and the CPU of the client for each job. In one run, in alternation, medians.
import { findPostgres, startPostgres } from '@sluice/dev';
import type { JetStreamManager } from '@nats-io/jetstream';
import type { Row } from '../run.ts';
import { median } from './meter.ts';
import type { PeerKind, PeerOrder, PeerReport } from './peer-worker.ts';
import { startRedis } from './redis.ts';
import { inProcess } from './throughput.ts';

const CONCURRENCY = 64;

const NAMES: Readonly<Record<PeerKind, string>> = {
  engine: 'engine',
  bullmq: 'BullMQ',
  graphile: 'graphile-worker',
  'graphile-batched': 'graphile-worker, batched',
  'pg-boss': 'pg-boss',
};

export async function peers(
  { jsm, url }: { jsm: JetStreamManager; url: string },
  options: { readonly rounds: number; readonly count: number },
): Promise<{ readonly rows: readonly Row[]; readonly notes: readonly string[] }> {
  const notes: string[] = [];
  const redis = await startRedis();
  if (redis === undefined) notes.push('BullMQ skipped: no redis-server on PATH, nor in REDIS_SERVER_BIN');
  else notes.push(`BullMQ on Redis ${redis.version}, append-only file synced every second`);
  const bin = findPostgres();
  const postgres = bin === undefined ? undefined : await startPostgres(bin);
  if (postgres === undefined) notes.push('graphile-worker and pg-boss skipped: initdb and postgres are not installed');
  else
    notes.push(
      'graphile-worker and pg-boss on PostgreSQL with fsync off: nats-server does not sync each message either',
    );
  const kinds: readonly PeerKind[] = [
    'engine',
    ...(redis === undefined ? [] : (['bullmq'] as const)),
    ...(postgres === undefined ? [] : (['graphile', 'graphile-batched', 'pg-boss'] as const)),
  ];
  const reports = new Map<PeerKind, PeerReport[]>(kinds.map((kind) => [kind, []]));
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
        if (kind === 'engine') await makeStreams(jsm);
        reports.get(kind)?.push(await inProcess<PeerReport>('peer-worker.ts', order));
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

function rowsOf(kind: PeerKind, reports: ReadonlyMap<PeerKind, readonly PeerReport[]>): readonly Row[] {
  const figure = (of: PeerKind, read: (report: PeerReport) => number): number =>
    median((reports.get(of) ?? []).map(read));
  const name = NAMES[kind];
  /** Beside a peer the engine has to be ahead: `ratio` says by how much. */
  const row = (what: string, unit: string, read: (report: PeerReport) => number, more: boolean): Row => {
    const value = figure(kind, read);
    const engine = figure('engine', read);
    const id = `${name}: ${what}`;
    if (kind === 'engine') return { id, value, unit, pass: true };
    const ratio = more ? engine / value : value / engine;
    return { id, value, unit, ratio, floor: 1, pass: ratio >= 1 };
  };
  return [
    row('enqueue, 64 in flight', 'job/s', ({ enqueue }) => enqueue.perSecond, true),
    row('  client CPU', 'us/job', ({ enqueue }) => enqueue.cpuUs, false),
    row('process, 64 at once', 'job/s', ({ consume }) => consume.perSecond, true),
    row('  client CPU', 'us/job', ({ consume }) => consume.cpuUs, false),
    row('enqueue to handler when idle, p50', 'ms', ({ idleP50Ms }) => idleP50Ms, false),
  ];
}
