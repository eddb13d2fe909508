import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { FailureSchema, PlacementSchema, type Job, type JobStream } from '@sluice/contracts';
import { fail, refresh, requeue, type JobLog } from '@sluice/jobs';
import { isBrokerFault, lifetimes, scaledMs, type Bus, type Lifecycle } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import type { ReadModel } from '../../history/read-model.ts';
import { jobsKeptMsOf } from '../../lifetimes-kept.ts';
import { workOf } from '../kinds/index.ts';
import { isRetryable } from '../orchestrator/retryable.ts';
import { unavailable } from '../orchestrator/stream-unavailable.ts';
import { examine, isStale, type ExamineDeps, type Finding } from './examine.ts';
import { published } from './placement.ts';
import { resultsAreApplied } from './settled.ts';

/**
 * What was done about a job.
 *
 * - `published`: its work was stored for the first time: the stream took nothing when it was dispatched.
 * - `republished`: its work was lost and stored again.
 * - `failed`: its work was lost too often, or cannot be made again.
 * - `refreshed`: its record was written down again before it expired.
 * - `expired`: its record was gone, so nothing can be done.
 * - `error`: it could not be looked at or published, for a reason of its own; it is tried at every pass.
 */
export const reconcileActions = ['published', 'republished', 'failed', 'refreshed', 'expired', 'error'] as const;
export type ReconcileAction = (typeof reconcileActions)[number];

export interface ReconcilingSettings {
  /**
   * How old the last event of a job is before its work is looked for. Longer than a stream remembers message ids: within
   * that time the repeat of a publish is not stored.
   */
  readonly graceMs: number;
  /** Pause between two looks at all open jobs. */
  readonly everyMs: number;
  /** Pause between two pages of 100 jobs: what it costs the broker is the same for a hundred open jobs and a million. */
  readonly pageMs: number;
}

export const defaultReconciling: ReconcilingSettings = {
  graceMs: 1.25 * lifetimes.duplicates,
  everyMs: scaledMs(60_000, 5_000),
  pageMs: 500,
};

const PAGE = 100;
/** A look reads up to three messages whole, and each can carry 256 KiB of images. */
const LOOKED_AT_ONCE = 10;
/** How often the work of a run may be lost before its job fails. */
const MAX_LOSSES = 3;

export interface ReconcilerParts {
  readonly bus: Bus;
  readonly jobs: JobLog;
  /** The streams that hold jobs. */
  readonly jobStreams: readonly JobStream[];
  readonly model: Pick<ReadModel, 'openJobs' | 'forget'>;
  readonly log: Logger;
  readonly now: () => number;
  readonly report: Lifecycle;
  readonly onAction: (action: ReconcileAction) => void;
  /** Called for every page of open jobs that was dealt with, and for a pass that found none. */
  readonly onProgress: () => void;
  readonly settings: ReconcilingSettings;
}

/**
 * Goes through the open jobs for ever, oldest first. One whose work is in no stream any more (purged, deleted with its
 * stream, or never stored because the stream was full) gets it published again, and one whose record expires before
 * long gets it written down again. The read model says which jobs are open, JOBS decides about each.
 *
 * Every gateway does this for itself: work that two of them publish has one message id and is stored once, and work that
 * was not lost after all is done once by its worker. A job that is to be cancelled is no exception: only its worker says
 * that nothing was done.
 *
 * @returns a function that stops it and waits for the jobs in hand.
 */
export function startReconciler(parts: ReconcilerParts): () => Promise<void> {
  const { bus, jobs, jobStreams, model, log, now, report, onAction, onProgress, settings } = parts;
  const { graceMs, everyMs, pageMs } = settings;
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<unknown> => delay(ms, undefined, { signal }).catch(() => undefined);

  async function pass(): Promise<void> {
    const deps = { bus, jobs, now, graceMs, keptMs: await jobsKeptMsOf(bus.jsm, jobStreams) };
    const before = now() - graceMs;
    let page = await model.openJobs(before, PAGE);
    if (page.length === 0) onProgress();
    while (page.length > 0 && !signal.aborted) {
      const isDone = await reconcile(
        deps,
        page.map(({ id }) => id),
      );
      if (isDone) onProgress();
      if (page.length < PAGE) return;
      await pause(pageMs);
      page = await model.openJobs(before, PAGE, page.at(-1));
    }
  }

  /** Returns false when jobs of the page have to wait for results that are not applied. */
  async function reconcile(deps: ExamineDeps, jobIds: readonly string[]): Promise<boolean> {
    const found: { readonly jobId: string; readonly finding: Finding | undefined }[] = [];
    for (let at = 0; at < jobIds.length; at += LOOKED_AT_ONCE) {
      const some = jobIds.slice(at, at + LOOKED_AT_ONCE);
      found.push(
        ...(await Promise.all(
          some.map(async (jobId) => ({ jobId, finding: await apart(jobId, () => examine(deps, jobId)) })),
        )),
      );
    }
    for (const { jobId, finding } of found) {
      if (finding?.is === 'expired') await expired(jobId);
      if (finding?.is === 'stale') await apart(jobId, () => rewrite(deps, jobId, finding));
    }
    const missing = found.filter((each) => each.finding?.is === 'missing');
    if (missing.length === 0) return true;
    if (!(await resultsAreApplied(bus, signal))) return false;
    /** Streams that took nothing: each further attempt would be refused as well. */
    const closed = new Set<string>();
    for (const { jobId, finding } of missing) {
      if (signal.aborted) return false;
      if (finding?.is === 'missing') await apart(jobId, () => publishAgain(jobId, finding, closed));
    }
    return true;
  }

  /** Runs a step of one job: what fails for it alone must not keep the jobs behind it from their turn. */
  async function apart<T>(jobId: string, step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (isBrokerFault(error) && isRetryable(error)) throw error;
      onAction('error');
      log.error({ err: error, job_id: jobId }, 'an open job could not be reconciled and is looked at again');
      return undefined;
    }
  }

  async function expired(jobId: string): Promise<void> {
    await model.forget(jobId);
    onAction('expired');
    log.error({ job_id: jobId }, 'an open job is gone from JOBS: it can neither be finished nor paid back');
  }

  async function rewrite(
    { keptMs }: ExamineDeps,
    jobId: string,
    { placement }: Extract<Finding, { is: 'stale' }>,
  ): Promise<void> {
    const current = await jobs.read(jobId);
    const request = current === undefined ? undefined : await jobs.request(current.job);
    const record = await jobs.transition(jobId, (job) =>
      isStale(job, now(), keptMs) ? refresh(job, { request, placement: job.placement ?? placement }) : undefined,
    );
    if (record?.moved === true) onAction('refreshed');
  }

  async function publishAgain(
    jobId: string,
    { lost, sequence }: Extract<Finding, { is: 'missing' }>,
    closed: Set<string>,
  ): Promise<void> {
    const current = await jobs.read(jobId, 'leader');
    // It has moved on since it was looked at: its end was applied, or another gateway was faster.
    if (current === undefined || current.sequence !== sequence) return;
    const { job } = current;
    const losses = (job.placement?.losses ?? 0) + (lost ? 1 : 0);
    const request = await jobs.request(job);
    const step = request === undefined ? undefined : workOf({ ...job, request });
    if (request === undefined || step === undefined || losses > MAX_LOSSES) return failAsLost(job, losses);
    const { stream } = step.channel;
    if (closed.has(stream)) return;
    const ack = await step.publish(bus).catch((error: unknown) => {
      if (unavailable(stream, error) === undefined) throw error;
      closed.add(stream);
    });
    // A duplicate is one that was stored a moment ago and may be gone again: the next pass knows.
    if (ack === undefined || ack.duplicate) return;
    report(jobId, published(step, ack, job.traceId));
    onAction(lost ? 'republished' : 'published');
    log.warn(
      { job_id: jobId, stream, losses },
      lost ? 'lost work was published again' : 'postponed work was published',
    );
    // A worker may have been quicker, and its result is what the job is moved by then.
    const placement = create(PlacementSchema, { stream, sequence: BigInt(ack.sequence), losses });
    const run = { replays: job.replays, request, placement };
    await jobs.transition(jobId, (latest) => requeue(latest, run));
  }

  async function failAsLost({ id, attempt, replays }: Job, losses: number): Promise<void> {
    const detail =
      losses > MAX_LOSSES
        ? `The work was lost ${losses} times.`
        : 'The work was lost, and its request is not kept any more.';
    const failure = create(FailureSchema, { code: 'work_lost', detail });
    const record = await jobs.transition(id, (job) => fail(job, { failure, attempt, replays, cause: 'reconcile' }));
    if (record?.moved === true) onAction('failed');
  }

  const running = (async () => {
    while (!signal.aborted) {
      await pass().catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, 'open jobs could not be looked at and are looked at again');
      });
      await pause(everyMs);
    }
  })();

  return async () => {
    stopping.abort();
    await running;
  };
}
