import type { JobKindName, JobStream } from '@sluice/contracts';
import type { JobView } from '../jobs/job-view.ts';
import type { PackedMessages } from './packed-messages.ts';

/** What the read model is made from: jobs, on one stream or several, and what happened to messages. */
export const projectedKinds = ['JOBS', 'EVENTS'] as const;
export type ProjectedKind = (typeof projectedKinds)[number];
export type ProjectedStream = JobStream | 'EVENTS';

/** What tells a stream from another one of its name: when it was made, and how far it goes. */
export interface StreamIdentity {
  readonly created: string;
  readonly lastSequence: number;
}

/** How a read model stands towards a stream. */
export interface Standing {
  /** The last sequence that it has taken in. */
  readonly after: number;
  /** Whether this process takes it in: one of those that share a read model does, another one once it has gone. */
  readonly leads: boolean;
}

/** Messages of one stream in order, as the projection hands them in. */
export interface Batch {
  readonly stream: ProjectedStream;
  /** Where the read model stands before it: what `follow` answered, or the last sequence of the batch before. */
  readonly after: number;
  readonly messages: PackedMessages;
}

export interface Applied {
  /** Sequences of messages that cannot be decoded: passed over. */
  readonly unreadable: readonly number[];
}

export interface JobFilter {
  readonly account: string;
  readonly state?: string | undefined;
  readonly kind?: JobKindName | undefined;
  readonly recipient?: string | undefined;
  /** The code of a failed job. */
  readonly error?: string | undefined;
  readonly fileName?: string | undefined;
  /** True for jobs with a `callbackUrl` alone. */
  readonly webhook?: true | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  readonly limit: number;
  readonly cursor?: JobCursor | undefined;
}

/** A place in a list of jobs: the next page begins behind it. */
export interface JobCursor {
  readonly createdMs: number;
  readonly id: string;
}

/**
 * One page, newest first. It can hold fewer jobs than asked for although there are more: a question whose filters match
 * many jobs each and few together is answered a stretch of the history at a time. Only a page without `next` is the last.
 */
export interface JobPage {
  readonly jobs: readonly JobView[];
  readonly next?: JobCursor;
}

/** A message of an app that has not gone through everything its flow declares. */
export interface IncompleteMessage {
  readonly appId: string;
  readonly messageId: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly missing: readonly string[];
}

/**
 * One page of them, oldest first. It can hold fewer than asked for although there are more: messages that lack nothing are
 * gone through a stretch at a time. Only a page without `next` is the last.
 */
export interface IncompletePage {
  readonly messages: readonly IncompleteMessage[];
  readonly next?: MessageCursor;
}

/** A place in the list of incomplete messages. */
export interface MessageCursor {
  readonly firstMs: number;
  readonly messageId: string;
}

/** Jobs of one kind that have not ended. */
export interface OpenJobs {
  readonly kind: string;
  readonly count: number;
  readonly oldestMs: number;
}

/** How much a read model holds. */
export interface Usage {
  readonly jobs: number;
  /** Bytes that it takes on its disk, without what is free to be used again. */
  readonly bytes: number;
}

/**
 * What the streams hold and held, arranged for questions that a subject cannot answer: lists, filters and counts. Two
 * implementations: SQLite in a file, and PostgreSQL. Every row derives from `JOBS` and `EVENTS`, and what two streams say
 * is kept apart and merged by one rule, so the order in which they are read does not matter. It keeps ended jobs longer
 * than the streams do.
 *
 * Every method rejects with {@link ReadModelUnavailableError} while the store behind it cannot answer.
 */
export interface ReadModel {
  /**
   * Where to go on reading a stream, and whether this process is the one that does. A stream that was made again, or restored from an older state,
   * is read from its beginning; what is known of its jobs stays, and any event of the new stream is newer.
   */
  follow(stream: ProjectedStream, identity: StreamIdentity): Promise<Standing>;
  /**
   * Takes a batch in as one transaction, position included: a crash repeats it, and a repeat changes nothing.
   *
   * @throws {PositionMovedError} when the read model does not stand at `after`: another projector was faster.
   */
  apply(batch: Batch): Promise<Applied>;
  /** Jobs of an account. */
  jobs(filter: JobFilter): Promise<JobPage>;
  /** The last `Job` that was told of a job of an account, encoded and without its request, also when `JOBS` has forgotten it. */
  job(account: string, id: string): Promise<Uint8Array | undefined>;
  /** How many jobs of an account are in each state, of one kind or of all. */
  counts(account: string, kind?: JobKindName): Promise<Readonly<Record<string, number>>>;
  /** Messages that lack declared events, from behind a place. */
  incomplete(appId: string, expected: readonly string[], limit: number, after?: MessageCursor): Promise<IncompletePage>;
  /** Which of these events a message of a client's app has seen. */
  seen(appId: string, messageId: string, expected: readonly string[]): Promise<readonly string[]>;
  /** Jobs that have not ended, by kind, and when the oldest of them was accepted. */
  open(): Promise<readonly OpenJobs[]>;
  /** Jobs that have not ended and were accepted before a time, oldest first, from behind a place. */
  openJobs(acceptedBeforeMs: number, limit: number, after?: JobCursor): Promise<readonly JobCursor[]>;
  /** Forgets a job. */
  forget(jobId: string): Promise<void>;
  /**
   * Forgets who the jobs that were for an address were for, and what their senders said of them. The jobs stay, with
   * their states, and events that come later bring nothing of it back.
   *
   * @returns how many jobs that were.
   */
  eraseRecipient(address: string): Promise<number>;
  /**
   * Deletes what ended before a time, the oldest first, at most `limit` jobs in one transaction. A job that has not ended
   * stays.
   *
   * @returns how many entries went: fewer than `limit` when nothing is left to delete.
   */
  prune(endedBeforeMs: number, limit: number): Promise<number>;
  usage(): Promise<Usage>;
  close(): Promise<void>;
}

/** Another projector moved the position: read it again. */
export class PositionMovedError extends Error {
  override readonly name = 'PositionMovedError';
  readonly code = 'position_moved';
}

/** The store behind the read model cannot answer now. */
export class ReadModelUnavailableError extends Error {
  override readonly name = 'ReadModelUnavailableError';
  readonly code = 'read_model_unavailable';
}
