import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import { JobKind, JobState, Priority, type Job, type LifecycleEvent } from '@sluice/contracts';
import { isTerminal, stateName } from '@sluice/jobs';
import { Type, type Static } from 'typebox';

export const jobKinds = ['image', 'email'] as const;
export const jobStates = ['accepted', 'queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export const priorities = ['normal', 'express'] as const;

const literals = <T extends string>(values: readonly T[], description?: string) =>
  Type.Unsafe<T>(Type.String({ enum: [...values], ...(description === undefined ? {} : { description }) }));
export const KindSchema = literals(jobKinds);
export const StateSchema = literals(jobStates);
export const PrioritySchema = literals(priorities, '`express` overtakes everything of `normal`.');
export const DateTime = Type.String({ format: 'date-time' });

const of = (kind: string, text: string): { description: string } => ({ description: `${kind}: ${text}` });

/** What came of a job. Its `kind` says which of the fields there are. */
const ResultSchema = Type.Object(
  {
    pages: Type.Optional(Type.Integer(of('image', 'of the PDF'))),
    width: Type.Optional(Type.Integer(of('image', 'pixels of the first page as drawn'))),
    height: Type.Optional(Type.Integer(of('image', 'the same'))),
    inputBytes: Type.Optional(Type.String(of('image', 'a 64-bit number, which JSON carries as a string'))),
    outputBytes: Type.Optional(Type.String(of('image', 'of the PDF'))),
    sha256: Type.Optional(Type.String(of('image', 'of the PDF'))),
    path: Type.Optional(Type.String(of('image', 'how the pixels travelled: passthrough, split, decode or mixed'))),
    messageId: Type.Optional(Type.String(of('email', 'the Message-ID header, the same for every copy of this mail'))),
    provider: Type.Optional(Type.String(of('email', 'the SMTP provider that took it'))),
    attempts: Type.Optional(Type.Integer(of('email', 'how often it was tried'))),
    ambiguous: Type.Optional(Type.Boolean(of('email', 'true when an earlier attempt may have been delivered too'))),
  },
  { description: 'Once the job has succeeded.', additionalProperties: false },
);

/** A job as the API shows it. */
export const JobViewSchema = Type.Object(
  {
    id: Type.String(),
    kind: KindSchema,
    state: StateSchema,
    attempt: Type.Integer({ description: 'How often the work has been started.' }),
    priority: PrioritySchema,
    createdAt: DateTime,
    updatedAt: DateTime,
    traceId: Type.String(),
    result: Type.Optional(ResultSchema),
    error: Type.Optional(
      Type.Object(
        { code: Type.String({ description: 'Stable and machine-readable.' }), detail: Type.String() },
        { description: 'Once the job has failed.', additionalProperties: false },
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

/** A worker's last word about a job, as progress. Undefined for words that say nothing about it. */
export function progressOf(event: LifecycleEvent | undefined): Progress | undefined {
  if (event?.createdAt === undefined) return undefined;
  const atMs = timestampDate(event.createdAt).getTime();
  if (Number.isNaN(atMs)) return undefined; // no time that a calendar has
  switch (event.event) {
    case 'attempt':
    case 'effect_done':
    case 'acked':
      return { state: 'running', attempt: event.attempt, atMs };
    case 'received':
    case 'retry_scheduled':
      return { state: 'queued', attempt: event.event === 'received' ? event.attempt - 1 : event.attempt, atMs };
    default:
      return undefined;
  }
}

/** The service whose words about a job of this kind are heard. */
export const workerOf = (kind: JobKind): string => (kind === JobKind.IMAGE ? 'image' : 'email');

/** The job as the API shows it; `progress` is merged into one that has not ended. */
export function jobView(job: Job, progress?: Progress): JobView {
  const at = `/v1/jobs/${job.id}`;
  const ended = isTerminal(job.state);
  const merged = ended || progress === undefined || progress.atMs < millis(job.updatedAt) ? undefined : progress;
  const name = merged?.state ?? stateName(job.state);
  const updatedMs = Math.max(merged?.atMs ?? 0, millis(job.updatedAt));
  const result = resultView(job);
  const hasPdf = job.state === JobState.SUCCEEDED && job.kind === JobKind.IMAGE;
  return {
    id: job.id,
    kind: job.kind === JobKind.IMAGE ? 'image' : 'email',
    state: name === 'unspecified' ? 'accepted' : name,
    attempt: Math.max(job.attempt, merged?.attempt ?? 0),
    priority: job.priority === Priority.EXPRESS ? 'express' : 'normal',
    createdAt: new Date(millis(job.createdAt)).toISOString(),
    updatedAt: new Date(updatedMs).toISOString(),
    traceId: job.traceId,
    ...(result === undefined ? {} : { result }),
    ...(job.error === undefined ? {} : { error: { code: job.error.code, detail: job.error.detail } }),
    links: { self: at, events: `${at}/events`, stream: `${at}/stream`, ...(hasPdf ? { pdf: `${at}/pdf` } : {}) },
  };
}

function resultView(job: Job): JobView['result'] {
  const work = job.result?.work;
  if (work?.case === 'image') {
    const { pages, width, height, inputBytes, outputBytes, sha256, path } = work.value;
    return { pages, width, height, inputBytes: `${inputBytes}`, outputBytes: `${outputBytes}`, sha256, path };
  }
  if (work?.case === 'email') {
    const { messageId, provider, attempts, ambiguous } = work.value;
    return { messageId, provider, attempts, ambiguous };
  }
  return undefined;
}

const millis = (time: Timestamp | undefined): number => (time === undefined ? 0 : timestampDate(time).getTime());
