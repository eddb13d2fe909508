import { jobKindName, jobKindNames, JobState, Priority, type Job } from '@sluice/contracts';
import { isTerminal, type JobLog } from '@sluice/jobs';
import { topology, type Difference, type Stalled } from '@sluice/messaging';
import { observeWithExemplar, type Telemetry } from '@sluice/telemetry';
import { reconcileActions, type ReconcileAction } from './jobs/reconciler/reconciler.ts';
import { projectedKinds, type OpenJobs, type ProjectedKind, type Usage } from './history/read-model.ts';
import { cleanedPrefixes } from './uploads/cleanup.ts';
import { deliveryEvents, type DeliveryEvent } from './webhooks/delivery.ts';
import { Counter, Gauge, Histogram } from 'prom-client';

/** The metrics of the gateway, by name. Dashboards and alert rules are checked against what is emitted. */
export const gatewayMetricNames = {
  accepted: 'gateway_jobs_accepted_total',
  finished: 'gateway_jobs_finished_total',
  duration: 'gateway_job_duration_seconds',
  open: 'gateway_jobs_open',
  webhooks: 'gateway_webhooks_total',
  oldestOpen: 'gateway_oldest_open_job_age_seconds',
  brokerStorage: 'gateway_broker_storage_used_ratio',
  unconfirmed: 'gateway_stream_unconfirmed_seconds',
  storeDuration: 'object_store_operation_duration_seconds',
  cleanedAt: 'storage_cleanup_last_success_timestamp_seconds',
  cleaned: 'storage_cleanup_deleted_total',
  reconciled: 'gateway_jobs_reconciled_total',
  reconcilerProgressedAt: 'gateway_reconciler_last_progress_timestamp_seconds',
  topologyDifferences: 'gateway_topology_differences',
  historyBehind: 'gateway_history_behind_messages',
  historyJobs: 'gateway_history_jobs',
  historyUsed: 'gateway_history_used_ratio',
  boundUsed: 'gateway_bound_used_ratio',
} as const;

/** What the gateway counts. */
export interface GatewayMetrics {
  /** A job log that counts what is appended through it. */
  counted(log: JobLog): JobLog;
  /** Counts a run of the cleanup under a prefix. */
  cleaned(prefix: string, deleted: number): void;
  /** Counts what became of a webhook. */
  webhook(event: DeliveryEvent): void;
  /** Counts what the reconciler did about a job. */
  reconciled(action: ReconcileAction): void;
  /** Notes that the reconciler dealt with a page of open jobs. */
  reconcilerProgressed(): void;
  /** Exposes the jobs that have not ended, read at each scrape. */
  watchOpen(read: () => Promise<readonly OpenJobs[]>): void;
  /** Exposes what the history holds and how far it is behind, read at each scrape. */
  watchHistory(read: () => HistoryState): void;
  /** Exposes how much of what is bounded in this process is in use: beyond a bound requests are refused. */
  watchBounds(read: () => Readonly<Record<Bound, number>>): void;
  /** Exposes the share of the broker's storage that is in use. */
  watchStorage(read: () => number): void;
  /** Exposes how long streams have confirmed nothing. */
  watchStalls(read: () => readonly Stalled[]): void;
  /** Exposes how many settings of the server differ from the topology. */
  watchTopology(read: () => readonly Pick<Difference, 'owner'>[]): void;
}

/** What a process of the gateway has a bound for, and refuses beyond it. `history_disk` is the disk of its SQLite file. */
export const bounds = [
  'request_bodies',
  'unread_answers',
  'event_streams',
  'history_questions',
  'history_disk',
] as const;
export type Bound = (typeof bounds)[number];

/** How a gateway's read model is. */
export interface HistoryState {
  /** Messages of a stream that are not taken in yet. */
  readonly behind: Readonly<Record<ProjectedKind, number>>;
  readonly usage: Usage | undefined;
  readonly maxBytes: number;
}

const finals: Readonly<Record<number, string>> = {
  [JobState.SUCCEEDED]: 'succeeded',
  [JobState.FAILED]: 'failed',
  [JobState.CANCELLED]: 'cancelled',
};

/** Registers the metrics. */
export function createGatewayMetrics(registry: Telemetry['registry']): GatewayMetrics {
  const registers = [registry];
  const names = gatewayMetricNames;
  const accepted = new Counter({
    name: names.accepted,
    help: 'Jobs accepted: each is on the stream and will end in one final state',
    labelNames: ['kind', 'priority'],
    registers,
  });
  const finished = new Counter({
    name: names.finished,
    help: 'Jobs that reached their final state, failed ones by their code',
    labelNames: ['kind', 'priority', 'state', 'code'],
    registers,
  });
  const duration = new Histogram({
    name: names.duration,
    help: 'From accepted to the final state',
    labelNames: ['kind', 'priority', 'state'],
    // The goals (5 s, 60 s) are bounds, so that a rate over them is exact.
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600],
    enableExemplars: true,
    registers,
  });
  const cleanedAt = new Gauge({
    name: names.cleanedAt,
    help: 'When objects were last cleaned up without an error, by prefix',
    labelNames: ['prefix'],
    registers,
  });
  const cleaned = new Counter({
    name: names.cleaned,
    help: 'Objects that the cleanup deleted, by prefix',
    labelNames: ['prefix'],
    registers,
  });
  for (const prefix of cleanedPrefixes) {
    // From the start on, so that a cleanup that never succeeds is an hour late after an hour.
    cleanedAt.setToCurrentTime({ prefix });
    cleaned.inc({ prefix }, 0);
  }

  const webhooks = new Counter({
    name: names.webhooks,
    help: 'Calls of webhooks by what came of them; dropped are those that never had a place in the queue',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of Object.values(deliveryEvents)) webhooks.inc({ outcome }, 0);

  const reconciled = new Counter({
    name: names.reconciled,
    help: 'Open jobs by what the reconciler did: republished, failed and expired are jobs whose work or record was lost',
    labelNames: ['action'],
    registers,
  });
  for (const action of reconcileActions) reconciled.inc({ action }, 0);
  const reconcilerProgressedAt = new Gauge({
    name: names.reconcilerProgressedAt,
    help: 'When the reconciler last dealt with a page of open jobs, or found none',
    registers,
  });
  // From the start on, so that a reconciler that never gets anywhere is late as well.
  reconcilerProgressedAt.setToCurrentTime();

  const labelsOf = (job: Job) => ({
    kind: jobKindName(job.kind) ?? 'unknown',
    priority: job.priority === Priority.EXPRESS ? 'express' : 'normal',
  });

  return {
    counted: (log) => ({
      ...log,
      async accept(job) {
        const record = await log.accept(job);
        if (record.accepted) accepted.inc(labelsOf(record.job));
        return record;
      },
      async transition(jobId, decide) {
        const record = await log.transition(jobId, decide);
        if (record?.moved === true && isTerminal(record.job.state)) count(record.job);
        return record;
      },
    }),
    watchOpen(read) {
      // No sample while the history cannot be asked: the last one would tell of jobs that have ended since.
      const openNow = (): Promise<readonly OpenJobs[] | undefined> => read().catch(() => undefined);
      void new Gauge({
        name: names.open,
        help: 'Jobs that were accepted and have not ended',
        labelNames: ['kind'],
        registers,
        async collect() {
          const found = await openNow();
          this.reset();
          if (found === undefined) return;
          for (const kind of jobKindNames) this.set({ kind }, 0);
          for (const { kind, count: open } of found) this.set({ kind }, open);
        },
      });
      void new Gauge({
        name: names.oldestOpen,
        help: 'How long the oldest job that has not ended has been waiting',
        labelNames: ['kind'],
        registers,
        async collect() {
          const found = await openNow();
          this.reset();
          if (found === undefined) return;
          for (const kind of jobKindNames) this.set({ kind }, 0);
          for (const { kind, oldestMs } of found) this.set({ kind }, Math.max(0, (Date.now() - oldestMs) / 1000));
        },
      });
    },
    watchHistory(read) {
      void new Gauge({
        name: names.historyBehind,
        help: 'Messages of a stream that the history of jobs has not taken in yet: lists lack what they say',
        labelNames: ['stream'],
        registers,
        collect() {
          const { behind } = read();
          for (const stream of projectedKinds) this.set({ stream }, behind[stream]);
        },
      });
      void new Gauge({
        name: names.historyJobs,
        help: 'Jobs in the history',
        registers,
        collect() {
          this.set(read().usage?.jobs ?? 0);
        },
      });
      void new Gauge({
        name: names.historyUsed,
        help: 'Bytes of the history as a share of HISTORY_MAX_BYTES: at 1 ended jobs go before HISTORY_TTL_MS is over',
        registers,
        collect() {
          const { usage, maxBytes } = read();
          this.set((usage?.bytes ?? 0) / maxBytes);
        },
      });
    },
    watchTopology(read) {
      void new Gauge({
        name: names.topologyDifferences,
        help: 'Stream, bucket and consumer settings that differ from the topology, by who owns the setting',
        labelNames: ['owner'],
        registers,
        collect() {
          for (const owner of ['application', 'operator'] as const) {
            this.set({ owner }, read().filter((difference) => difference.owner === owner).length);
          }
        },
      });
    },
    reconciled: (action) => reconciled.inc({ action }),
    reconcilerProgressed: () => reconcilerProgressedAt.setToCurrentTime(),
    webhook: (event) => webhooks.inc({ outcome: deliveryEvents[event] }),
    cleaned(prefix, deleted) {
      cleanedAt.setToCurrentTime({ prefix });
      cleaned.inc({ prefix }, deleted);
    },
    watchStalls(read) {
      void new Gauge({
        name: names.unconfirmed,
        help: 'How long a stream has confirmed nothing of what was published to it; 0 while it does',
        labelNames: ['stream'],
        registers,
        collect() {
          for (const { name } of topology.streams) this.set({ stream: name }, 0);
          for (const { stream, forMs } of read()) this.set({ stream }, forMs / 1000);
        },
      });
    },
    watchBounds(read) {
      void new Gauge({
        name: names.boundUsed,
        help: 'How much of a bound of this process is used: at 1 requests are refused, or the disk of the history is full',
        labelNames: ['bound'],
        registers,
        collect() {
          const used = read();
          for (const bound of bounds) this.set({ bound }, used[bound]);
        },
      });
    },
    watchStorage(read) {
      void new Gauge({
        name: names.brokerStorage,
        help: 'Storage of the broker in use, as a share of what it has room for: at 0.9 nothing is accepted; 0 when no limit is known',
        registers,
        collect() {
          this.set(read());
        },
      });
    },
  };

  function count(job: Job): void {
    const labels = { ...labelsOf(job), state: finals[job.state] ?? '' };
    finished.inc({ ...labels, code: job.error?.code ?? '' });
    observeWithExemplar(duration, labels, Math.max(0, secondsOf(job.updatedAt) - secondsOf(job.createdAt)));
  }
}

function secondsOf(timestamp: Job['createdAt']): number {
  return timestamp === undefined ? 0 : Number(timestamp.seconds) + timestamp.nanos / 1e9;
}
