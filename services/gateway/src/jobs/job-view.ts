import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import {
  jobKindName,
  jobKindNames,
  JobState,
  Priority,
  type Deferral,
  type Job,
  type LifecycleEvent,
} from '@sluice/contracts';
import { isTerminal, stateName } from '@sluice/jobs/state';
import { Type, type Static } from 'typebox';
import { kindRules, resultView } from './kinds/index.ts';
import type { WebhookDelivery } from '../webhooks/delivery.ts';

export const jobStates = ['accepted', 'queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export const priorities = ['normal', 'express'] as const;

const literals = <T extends string>(values: readonly T[], description?: string) =>
  Type.Unsafe<T>(Type.String({ enum: [...values], ...(description === undefined ? {} : { description }) }));
export const KindSchema = literals(jobKindNames);
export const StateSchema = literals(jobStates);
export const PrioritySchema = literals(priorities, '`express` overtakes everything of `normal`.');
export const DateTime = Type.String({ format: 'date-time' });

/** What came of a job. Its `kind` says which of the fields there are. */
const ResultSchema = Type.Object(Object.assign({}, ...jobKindNames.map((name) => kindRules[name].resultFields)), {
  description: 'Once the job has succeeded.',
  additionalProperties: false,
});

/** Why an open job does not run. */
const WaitingForSchema = Type.Object(
  {
    reason: literals(
      ['dispatch', 'queue_full', 'paused', 'no_worker', 'queue', 'worker', 'retry', 'provider'],
      '`dispatch`: to be put into its queue. `queue_full`: for room there. `paused`: an operator paused its pipeline. `no_worker`: no worker asks for work. `queue`: for its turn. `worker`: for a slot of the worker that has it. `retry`: for its next attempt. `provider`: for a mail provider that takes mail.',
    ),
    detail: Type.String({ description: 'In words.' }),
    since: Type.Optional(DateTime),
    until: Type.Optional(DateTime),
    ahead: Type.Optional(Type.Integer({ description: 'How many may go before it, at most.' })),
  },
  { description: 'Why a job that is open does not run. Of one job alone, not in lists.', additionalProperties: false },
);
export type WaitingFor = Static<typeof WaitingForSchema>;

/** A job as the API shows it. */
export const JobViewSchema = Type.Object(
  {
    id: Type.String(),
    kind: literals([...jobKindNames, 'unknown'], '`unknown`: of a kind that a newer version added.'),
    state: StateSchema,
    attempt: Type.Integer({ description: 'How often the work has been started.' }),
    priority: PrioritySchema,
    createdAt: DateTime,
    updatedAt: DateTime,
    cancelRequested: Type.Optional(
      Type.Boolean({
        description: 'True once a client asked to cancel it. It ends as `cancelled` only if nothing was done by then.',
      }),
    ),
    waitingFor: Type.Optional(WaitingForSchema),
    deferred: Type.Optional(
      Type.Object(
        { at: DateTime, detail: Type.String({ description: 'The provider and the words of its server.' }) },
        {
          description: 'email: while the job is open, since a server asked to come again later with its mail.',
          additionalProperties: false,
        },
      ),
    ),
    traceId: Type.String(),
    metadata: Type.Optional(
      Type.Record(Type.String(), Type.String(), { description: 'The pairs that its request carried.' }),
    ),
    fileNames: Type.Optional(Type.Array(Type.String(), { description: 'What its sender calls the files.' })),
    result: Type.Optional(ResultSchema),
    error: Type.Optional(
      Type.Object(
        { code: Type.String({ description: 'Stable and machine-readable.' }), detail: Type.String() },
        { description: 'Once the job has failed.', additionalProperties: false },
      ),
    ),
    webhook: Type.Optional(
      Type.Object(
        {
          state: literals(
            ['pending', 'delivered', 'retrying', 'failed', 'dropped'],
            '`failed`: it was given up. `dropped`: too many of the account waited, so it was never called.',
          ),
          at: Type.Optional(DateTime),
        },
        {
          description: 'Once a job with a `callbackUrl` has ended. Of one job alone, not in lists.',
          additionalProperties: false,
        },
      ),
    ),
    links: Type.Object(
      { self: Type.String(), events: Type.String(), stream: Type.String(), pdf: Type.Optional(Type.String()) },
      { additionalProperties: false },
    ),
  },
  { $id: 'Job', additionalProperties: false },
);
export type JobView = Static<typeof JobViewSchema>;

/** What a worker last said about a job that has not ended. */
export interface Progress {
  readonly state: 'queued' | 'running';
  readonly attempt: number;
  readonly atMs: number;
}

/**
 * A worker's last event about a job, as progress; undefined when there is none. Its time is the broker's, clamped to
 * this process's: the clock of a worker decides nothing, so one that is wrong neither hides a state nor shows tomorrow.
 */
export function progressOf(
  event: LifecycleEvent | undefined,
  storedMs: number,
  nowMs: number = Date.now(),
): Progress | undefined {
  if (event === undefined) return undefined;
  const atMs = Math.min(storedMs, nowMs);
  switch (event.event) {
    case 'received':
      return { state: 'queued', attempt: event.attempt - 1, atMs };
    case 'retry_scheduled':
      return { state: 'queued', attempt: event.attempt, atMs };
    default:
      // For all else a worker says (an attempt, a mail that is held), the job is running.
      return { state: 'running', attempt: event.attempt, atMs };
  }
}

/**
 * What of a worker's progress holds for a job as it stands. All of it in the first run; after an operator's replay only
 * what was stored later, because the events before belong to the run that failed.
 */
export function currentProgress(job: Job, progress: Progress | undefined): Progress | undefined {
  if (progress === undefined || isTerminal(job.state)) return undefined;
  return job.replays > 0 && progress.atMs < millis(job.updatedAt) ? undefined : progress;
}

/** The state of a job as the API shows it, its worker's progress merged in. */
export function shownState(job: Job, progress?: Progress): (typeof jobStates)[number] {
  const name = currentProgress(job, progress)?.state ?? stateName(job.state);
  return name === 'unspecified' ? 'accepted' : name;
}

/** The job as the API shows it; `progress` is merged into one that has not ended, `delivery` into one that has. */
export function jobView(job: Job, progress?: Progress, delivery?: WebhookDelivery): JobView {
  const at = `/v1/jobs/${job.id}`;
  const ended = isTerminal(job.state);
  const merged = currentProgress(job, progress);
  const updatedMs = Math.max(merged?.atMs ?? 0, millis(job.updatedAt));
  const result = resultView(job);
  const kind = jobKindName(job.kind) ?? 'unknown';
  const hasPdf = job.state === JobState.SUCCEEDED && kind !== 'unknown' && kindRules[kind].hasPdf;
  return {
    id: job.id,
    kind,
    state: shownState(job, progress),
    attempt: Math.max(job.attempt, merged?.attempt ?? 0),
    priority: job.priority === Priority.EXPRESS ? 'express' : 'normal',
    createdAt: new Date(millis(job.createdAt)).toISOString(),
    updatedAt: new Date(updatedMs).toISOString(),
    traceId: job.traceId,
    ...(job.cancelRequested ? { cancelRequested: true } : {}),
    ...(Object.keys(job.metadata).length === 0 ? {} : { metadata: job.metadata }),
    ...(job.fileNames.length === 0 ? {} : { fileNames: job.fileNames }),
    ...(ended || job.deferral === undefined ? {} : { deferred: deferralView(job.deferral) }),
    ...(result === undefined ? {} : { result }),
    ...(job.error === undefined ? {} : { error: { code: job.error.code, detail: job.error.detail } }),
    ...(ended && delivery !== undefined ? { webhook: deliveryView(delivery) } : {}),
    links: { self: at, events: `${at}/events`, stream: `${at}/stream`, ...(hasPdf ? { pdf: `${at}/pdf` } : {}) },
  };
}

const deliveryView = ({ state, atMs }: WebhookDelivery) => ({
  state,
  ...(atMs === undefined ? {} : { at: new Date(atMs).toISOString() }),
});

const deferralView = ({ at, detail }: Deferral) => ({ at: new Date(millis(at)).toISOString(), detail });

const millis = (time: Timestamp | undefined): number => (time === undefined ? 0 : timestampDate(time).getTime());
