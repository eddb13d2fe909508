import { create, type MessageInitShape, type UnknownEnum } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  JobEventSchema,
  JobRequestSchema,
  JobResultSchema,
  JobSchema,
  JobState,
  type Deferral,
  type Failure,
  type Job,
  type JobEvent,
  type JobRequest,
  type JobResult,
  type MailReport,
  type Placement,
} from '@sluice/contracts';

const { ACCEPTED, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED, UNSPECIFIED } = JobState;

// Protobuf enums are open on the wire: a newer sender may know states that we do not.
type KnownState = Exclude<JobState, UnknownEnum>;

/**
 * Which state may follow which.
 *
 * ```
 * accepted ─▶ queued ─▶ running ─▶ succeeded            final
 *     │          │         ├─────▶ cancelled            final
 *     │          │         └─────▶ failed ─▶ queued     by an operator's replay alone
 *     └──────────┴─▶ any end: results arrive whether or not the steps between were recorded
 * ```
 *
 * A request to cancel is an event in the state that the job has, and so is a report about a mail that was sent. A mail
 * that its server deferred is queued again.
 *
 * `running` is never appended by the system itself: workers report it to `EVENTS`, best effort, and it is merged in
 * when a job is read.
 */
export const legalMoves: Readonly<Record<KnownState, readonly JobState[]>> = {
  [UNSPECIFIED]: [ACCEPTED],
  [ACCEPTED]: [ACCEPTED, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED],
  [QUEUED]: [QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED],
  [RUNNING]: [RUNNING, SUCCEEDED, FAILED, CANCELLED],
  [SUCCEEDED]: [SUCCEEDED],
  [FAILED]: [QUEUED],
  [CANCELLED]: [],
};

/** The states as the API and people call them. */
const stateNames = {
  [UNSPECIFIED]: 'unspecified',
  [ACCEPTED]: 'accepted',
  [QUEUED]: 'queued',
  [RUNNING]: 'running',
  [SUCCEEDED]: 'succeeded',
  [FAILED]: 'failed',
  [CANCELLED]: 'cancelled',
} as const satisfies Readonly<Record<KnownState, string>>;

export type StateName = (typeof stateNames)[KnownState];

/** The name of a state; one of a newer version of the system, which this one does not know, reads as unspecified. */
export const stateName = (state: JobState): StateName => stateNames[state as KnownState] ?? 'unspecified';

/** Whether the table allows a move. */
export const mayMove = (from: JobState, to: JobState): boolean => legalMoves[from as KnownState]?.includes(to) ?? false;

/** Whether the job has ended: nothing but an operator's replay moves a failed one, nothing at all the others. */
export const isTerminal = (state: JobState): boolean => state === SUCCEEDED || state === FAILED || state === CANCELLED;

/** A move that the table does not know: a bug in its caller, never a matter of timing. */
export class IllegalMoveError extends Error {
  override readonly name = 'IllegalMoveError';
  readonly code = 'illegal_move';
  constructor(jobId: string, from: JobState, to: JobState) {
    super(`job ${jobId} cannot go from ${stateName(from)} to ${stateName(to)}`);
  }
}

/** What moved a job; part of its history. */
export type Cause =
  | 'accept'
  | 'queue'
  | 'result'
  | 'dead-letter'
  | 'cancel-request'
  | 'cancel'
  | 'replay'
  | 'reconcile'
  | 'refresh'
  | 'erase'
  | 'report'
  | 'deferral';

/** A decision about a job: the state to move to and what changes with it. */
export interface Move {
  readonly to: JobState;
  readonly cause: Cause;
  readonly change?: {
    attempt?: number;
    replays?: number;
    cancelRequested?: boolean;
    result?: JobResult | undefined;
    error?: Failure | undefined;
    placement?: Placement | undefined;
    deferral?: Deferral | undefined;
    /** With every byte it came with: the event then stands in for the first one, which expires. */
    request?: JobRequest;
  };
}

/** Work that ended well. `undefined`, so no move, when the job has ended already or `replays` names an earlier run. */
export function succeed(job: Job, run: { result: JobResult; attempt: number; replays: number }): Move | undefined {
  if (isTerminal(job.state) || run.replays !== job.replays) return undefined;
  return { to: SUCCEEDED, cause: 'result', change: { attempt: run.attempt, result: run.result, error: undefined } };
}

/** Work that ended badly and for good. No move under the same conditions as {@link succeed}. */
export function fail(
  job: Job,
  run: { failure: Failure; attempt: number; replays: number; cause?: 'result' | 'dead-letter' | 'reconcile' },
): Move | undefined {
  if (isTerminal(job.state) || run.replays !== job.replays) return undefined;
  const change = { attempt: Math.max(job.attempt, run.attempt), error: run.failure };
  return { to: FAILED, cause: run.cause ?? 'result', change };
}

/** The client asks to cancel. The state stays: its worker may be at it. No move once the job has ended, or a second time. */
export function requestCancel(job: Job): Move | undefined {
  if (isTerminal(job.state) || job.cancelRequested) return undefined;
  return { to: job.state, cause: 'cancel-request', change: { cancelRequested: true } };
}

/** The worker of a run says that nothing was done and nothing will be. No move under the same conditions as {@link succeed}. */
export function cancel(job: Job, run: { attempt: number; replays: number }): Move | undefined {
  if (isTerminal(job.state) || run.replays !== job.replays) return undefined;
  return { to: CANCELLED, cause: 'cancel', change: { attempt: Math.max(job.attempt, run.attempt) } };
}

/** An operator sends a failed job on its way again, as a run of its own. No move unless it has failed. */
export function reopen(job: Job): Move | undefined {
  if (job.state !== FAILED) return undefined;
  return {
    to: QUEUED,
    cause: 'replay',
    change: {
      replays: job.replays + 1,
      cancelRequested: false,
      error: undefined,
      result: undefined,
      placement: undefined,
      deferral: undefined,
    },
  };
}

/** A server asked to come again later. No move under the same conditions as {@link succeed}, or when the run was deferred before. */
export function defer(
  job: Job,
  run: { readonly deferral: Deferral; readonly attempt: number; readonly replays: number },
): Move | undefined {
  if (isTerminal(job.state) || run.replays !== job.replays || job.deferral !== undefined) return undefined;
  const change = { attempt: Math.max(job.attempt, run.attempt), deferral: run.deferral };
  return { to: QUEUED, cause: 'deferral', change };
}

/** The work of a run was published, again or at last. No move once the job has ended or is on a newer run. */
export function requeue(
  job: Job,
  run: { replays: number; request: JobRequest; placement: Placement },
): Move | undefined {
  if (isTerminal(job.state) || run.replays !== job.replays) return undefined;
  const { request, placement } = run;
  return { to: job.state === ACCEPTED ? QUEUED : job.state, cause: 'reconcile', change: { request, placement } };
}

/** Writes an open job down again, so that its stream keeps it. No move once the job has ended. */
export function refresh(
  job: Job,
  known: { request: JobRequest | undefined; placement: Placement | undefined },
): Move | undefined {
  if (isTerminal(job.state)) return undefined;
  const { request, placement } = known;
  return { to: job.state, cause: 'refresh', change: { ...(request === undefined ? {} : { request }), placement } };
}

/**
 * A mail that was sent came back, or its reader complained. No move for a job that sent none, for a second report of
 * its kind about the same recipient, or for one that was erased: its last event stays the one of the erasure.
 */
export function report(job: Job, said: MailReport): Move | undefined {
  const work = job.result?.work;
  if (job.state !== SUCCEEDED || job.request === undefined || work?.case !== 'email') return undefined;
  const { reports } = work.value;
  if (reports.some(({ kind, recipient }) => kind === said.kind && recipient === said.recipient)) return undefined;
  const value = { ...work.value, reports: [...reports, said] };
  return {
    to: SUCCEEDED,
    cause: 'report',
    change: { result: create(JobResultSchema, { work: { case: 'email', value } }) },
  };
}

/** The first event of a job. The state, the times and the counters are set here; those of `job` are ignored. */
export function acceptEvent(job: MessageInitShape<typeof JobSchema>, atMs: number): JobEvent {
  const at = timestampFromMs(atMs);
  const snapshot = create(JobSchema, job);
  Object.assign(snapshot, { state: ACCEPTED, attempt: 0, replays: 0, createdAt: at, updatedAt: at });
  return create(JobEventSchema, { job: snapshot, at, cause: 'accept' });
}

/**
 * The event that carries a job on, with the full snapshot after it. Bytes that travelled inside the request stay in the
 * first event alone: a copy of them in every later one would make each read of the state as large as the upload.
 *
 * @throws {IllegalMoveError}
 */
export function moveEvent(job: Job, move: Move, atMs: number): JobEvent {
  if (!mayMove(job.state, move.to)) throw new IllegalMoveError(job.id, job.state, move.to);
  // Clocks of replicas differ, and that of one can be set back: the times of a job only grow.
  const at = timestampFromMs(Math.max(atMs, job.updatedAt === undefined ? 0 : timestampMs(job.updatedAt)));
  const snapshot = withoutContent(job);
  // An event in the same state is a note: what a worker said of that state still holds.
  Object.assign(snapshot, move.change, { state: move.to }, move.to === job.state ? {} : { updatedAt: at });
  if (move.cause === 'refresh' || move.change?.request !== undefined) snapshot.refreshedAt = at;
  return create(JobEventSchema, { job: snapshot, at, cause: move.cause });
}

/**
 * A job without what was asked for: how it ended and whose it is stay.
 *
 * @param mentions whether a text speaks of the person who is erased.
 */
export function erasedJob(job: Job, mentions: (text: string) => boolean): Job {
  const { request: _, error, deferral: __, ...rest } = job;
  const detail = error !== undefined && mentions(error.detail) ? 'Erased.' : error?.detail;
  return {
    ...rest,
    notify: '',
    metadata: {},
    fileNames: [],
    // Who has the rest of the request could try addresses until the hash fits.
    requestHash: '',
    callbackUrl: mentions(job.callbackUrl) ? '' : job.callbackUrl,
    ...(error === undefined || detail === undefined ? {} : { error: { ...error, detail } }),
  };
}

/** The event that stands for an ended job once it is erased. */
export function eraseEvent(job: Job, mentions: (text: string) => boolean, atMs: number): JobEvent {
  return create(JobEventSchema, { job: erasedJob(job, mentions), at: timestampFromMs(atMs), cause: 'erase' });
}

/** Whether the bytes that a request came with are still in it. */
export function isWhole(request: JobRequest | undefined): request is JobRequest {
  const work = request?.work;
  if (work?.case !== 'image') return work?.case !== undefined;
  return work.value.sources.every(({ from }) => from.case !== undefined);
}

function withoutContent(job: Job): Job {
  const work = job.request?.work;
  if (work?.case !== 'image') return { ...job };
  const sources = work.value.sources.map((source) =>
    source.from.case === 'content' ? { ...source, from: { case: undefined } } : source,
  );
  const request = create(JobRequestSchema, { work: { case: 'image', value: { ...work.value, sources } } });
  return { ...job, request };
}
