import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  jobChannelOf,
  subject,
  type Job,
  type JobEvent,
  type JobRequest,
  type JobSchema,
  type JobStream,
} from '@sluice/contracts';
import {
  followJobLayouts,
  homeOf,
  isWrongLastSequence,
  placesOf,
  stepId,
  type Bus,
  type Stored,
} from '@sluice/messaging';
import { PublishError } from '@sluice/pipeline';
import { acceptEvent, eraseEvent, isTerminal, isWhole, moveEvent, stateName, type Move } from './state.ts';

/** A job as of one event of its history. */
export interface JobRecord {
  readonly job: Job;
  /** The stream that holds the job, from its first event to its last. */
  readonly stream: JobStream;
  /** Position of the event in the stream: grows with every event of every job there. */
  readonly sequence: number;
  /** What moved the job here: `accept`, `queue`, `result`, `dead-letter`, `cancel-request`, `cancel`, `replay`, `reconcile`, `refresh`, `erase`, `report` or `deferral`. */
  readonly cause: string;
}

/** The last event of a job as it is stored, and the stream that it is in. */
export interface FoundEvent {
  readonly stored: Stored<JobEvent>;
  readonly stream: JobStream;
}

/**
 * The jobs of the system: one subject per job, whose last message is the state, on the stream `JOBS` or on one of its
 * partitions. Which one is decided by the id of the job and by the time it was accepted, and never changes.
 */
export interface JobLog {
  /**
   * Appends the first event of a job. Once it returns, the job is the system's and cannot be lost. `accepted` is false
   * when the id exists already; the record is then the job that is there, which can be this very one: an append whose
   * confirmation was lost is repeated.
   *
   * @param acceptedMs the time whose layout of partitions holds for the job; now if absent. The same for every repeat.
   * @throws {PublishError} when the broker did not confirm. After `TIMEOUT` the job may exist all the same.
   */
  accept(
    job: MessageInitShape<typeof JobSchema> & { id: string },
    acceptedMs?: number,
  ): Promise<JobRecord & { readonly accepted: boolean }>;
  /**
   * Moves a job by compare-and-set: reads it, asks `decide`, appends unless another writer was faster, in which case it
   * reads and asks again. `decide` may be called several times, and returns undefined to leave the job as it is.
   * `moved` says whether this call appended. Undefined when there is no such job.
   *
   * @throws {IllegalMoveError} when `decide` asks for a move the table does not know.
   * @throws {ContendedError} when others were faster every time.
   * @throws {PublishError}
   */
  transition(
    jobId: string,
    decide: (job: Job) => Move | undefined,
  ): Promise<(JobRecord & { readonly moved: boolean }) | undefined>;
  /**
   * The job now. `'any'`, the default, may be answered by a replica that lags; decisions read from the `'leader'`.
   *
   * @param acceptedMs the time that was given to `accept`, where it is known: spares a read for each partition that the
   * job could be in.
   */
  read(jobId: string, from?: 'any' | 'leader', acceptedMs?: number): Promise<JobRecord | undefined>;
  /** The last event of a job as it is stored. */
  last(jobId: string, from?: 'any' | 'leader', acceptedMs?: number): Promise<FoundEvent | undefined>;
  /** The event of a job at a position of its stream; undefined when it is not there any more. */
  at(
    jobId: string,
    position: { readonly stream: JobStream; readonly sequence: number },
  ): Promise<JobRecord | undefined>;
  /** What a job was asked for, with every byte that came with it; undefined when that is not kept any more. */
  request(job: Job): Promise<JobRequest | undefined>;
  /**
   * Erases what an ended job was asked for: appends its state without it, then overwrites every earlier event. Safe to
   * repeat; a repeat after a crash erases what was left.
   *
   * @param mentions whether a text of the job speaks of the person who is erased.
   * @param lastSequence erase only while this is the last event: a later one may not have reached its readers yet.
   * @returns false for a job that has not ended or has another last event, which is left as it is, and for one that is
   * not there.
   */
  erase(jobId: string, mentions: (text: string) => boolean, lastSequence?: number): Promise<boolean>;
  /** Every event of a job, oldest first. */
  history(jobId: string): AsyncGenerator<Stored<JobEvent>>;
}

/**
 * Headers of every event on `JOBS`, for readers that take headers alone: most events do not concern them, and the first
 * event of a job can carry 256 KiB of image. Events of versions before them have none.
 */
export const JOB_HEADER = {
  /**
   * `stateName` of the job after the event; `erased` for the event of an erasure, which tells of no new end, `deferred`
   * for that of a mail which its server deferred.
   */
  state: 'Sluice-Job-State',
  /** `yes` when the job has a URL to call. */
  webhook: 'Sluice-Job-Webhook',
} as const;

const headerOf: Readonly<Record<string, string>> = { erase: 'erased', deferral: 'deferred' };

/** Every attempt at a compare-and-set was overtaken. Trying again later is safe. */
export class ContendedError extends Error {
  override readonly name = 'ContendedError';
  readonly code = 'job_contended';
}

// A job has a handful of events in its life: being overtaken more often than that is a fault, not contention.
const ROUNDS = 16;
const PUBLISH_ATTEMPTS = 3;
/** Ended jobs whose last event is kept decoded. */
const REMEMBERED = 2_000;

/** A job log over a bus. `now` gives milliseconds since 1970. */
export function jobLog(bus: Bus, options: { readonly now?: () => number; readonly timeoutMs?: number } = {}): JobLog {
  const now = options.now ?? Date.now;
  const timeoutMs = options.timeoutMs ?? 2_000;
  const ended = new Map<string, JobRecord>();
  const layouts = followJobLayouts(bus.jsm);

  const last: JobLog['last'] = async (jobId, from = 'any', acceptedMs) => {
    const all = await layouts();
    const places = acceptedMs === undefined ? placesOf(all, jobId) : [homeOf(all, jobId, acceptedMs)];
    for (const channel of places) {
      const stored = await bus.last(channel, { jobId }, from);
      if (stored !== undefined) return { stored, stream: channel.stream };
    }
    return undefined;
  };

  async function read(
    jobId: string,
    from: 'any' | 'leader' = 'any',
    acceptedMs?: number,
  ): Promise<JobRecord | undefined> {
    const current = await last(jobId, from, acceptedMs);
    if (current === undefined) return undefined;
    const known = ended.get(jobId);
    if (known?.sequence === current.stored.sequence) return known;
    const found = record(current);
    // An ended job is read again and again and carries no uploads. The sequence says whether this is still its last word.
    if (isTerminal(found.job.state)) {
      if (ended.size >= REMEMBERED) ended.clear();
      ended.set(jobId, found);
    }
    return found;
  }

  async function* history(jobId: string): AsyncGenerator<Stored<JobEvent>> {
    for (const channel of placesOf(await layouts(), jobId)) {
      let isHere = false;
      for await (const stored of bus.history(channel, { jobId })) {
        isHere = true;
        yield stored;
      }
      if (isHere) return;
    }
  }

  /** Stores the event if the subject still ends at `after`. Undefined: it does not, or it can no longer be known. */
  async function append(event: JobEvent, stream: JobStream, after: number): Promise<JobRecord | undefined> {
    const job = event.job!;
    // A message id per position: the repeat of an append is folded by the stream, two writers of one position conflict.
    const settings = {
      values: { jobId: job.id },
      id: stepId(job.id, `${after}`),
      headers: {
        [JOB_HEADER.state]: headerOf[event.cause] ?? stateName(job.state),
        ...(job.callbackUrl === '' ? {} : { [JOB_HEADER.webhook]: 'yes' }),
      },
      expectLastSubjectSequence: after,
      timeoutMs,
    };
    for (let attempt = 1; ; attempt += 1) {
      try {
        const ack = await bus.publish(jobChannelOf(stream), event, settings);
        return ack.duplicate ? undefined : { job, stream, sequence: ack.sequence, cause: event.cause };
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        if (isWrongLastSequence(error)) return undefined;
        if (error.code !== 'TIMEOUT' || attempt >= PUBLISH_ATTEMPTS) throw error;
      }
    }
  }

  return {
    read,
    last,
    history,

    async request(job) {
      if (isWhole(job.request)) return job.request;
      for await (const { data } of history(job.id)) {
        if (isWhole(data.job?.request)) return data.job.request;
      }
      return undefined;
    },

    async at(jobId, { stream, sequence }) {
      for await (const stored of bus.history(jobChannelOf(stream), { jobId }, sequence))
        return stored.sequence === sequence ? record({ stored, stream }) : undefined;
      return undefined;
    },

    async accept(job, acceptedMs = now()) {
      const { stream } = homeOf(await layouts(), job.id, acceptedMs);
      const appended = await append(acceptEvent(job, now()), stream, 0);
      if (appended !== undefined) return { ...appended, accepted: true };
      const existing = await read(job.id, 'leader', acceptedMs);
      if (existing === undefined) throw new ContendedError(`job ${job.id} was refused as existing and cannot be read`);
      return { ...existing, accepted: false };
    },

    async erase(jobId, mentions, lastSequence) {
      for (let round = 0; round < ROUNDS; round += 1) {
        const current = await read(jobId, 'leader');
        if (current === undefined || !isTerminal(current.job.state)) return false;
        if (current.cause !== 'erase' && lastSequence !== undefined && current.sequence !== lastSequence) return false;
        const erased =
          current.cause === 'erase'
            ? current
            : await append(eraseEvent(current.job, mentions, now()), current.stream, current.sequence);
        if (erased === undefined) continue;
        ended.delete(jobId);
        const { stream } = erased;
        for (;;) {
          const oldest = await bus.find(stream, { oldestOf: subject(jobChannelOf(stream), { jobId }) });
          if (oldest === undefined || oldest.sequence >= erased.sequence) return true;
          await bus.erase(stream, oldest.sequence);
        }
      }
      throw new ContendedError(`job ${jobId} changed under ${ROUNDS} attempts to erase it`);
    },

    async transition(jobId, decide) {
      // The first look may be at a replica that lags, and is several times cheaper: an append on an old state is refused,
      // and everything else an old state would decide is decided again on the leader's.
      for (let round = 0; round < ROUNDS; round += 1) {
        const sure = round > 0;
        const current = await read(jobId, sure ? 'leader' : 'any');
        const move = current === undefined ? undefined : decide(current.job);
        if (current !== undefined && move !== undefined) {
          const appended = await append(moveEvent(current.job, move, now()), current.stream, current.sequence);
          if (appended !== undefined) return { ...appended, moved: true };
        } else if (sure) {
          return current === undefined ? undefined : { ...current, moved: false };
        }
      }
      throw new ContendedError(`job ${jobId} changed under ${ROUNDS} attempts to move it`);
    },
  };
}

function record({ stored, stream }: FoundEvent): JobRecord {
  const { job, cause } = stored.data;
  if (job === undefined) throw new Error(`event ${stored.sequence} of ${stored.subject} carries no job`);
  return { job, stream, sequence: stored.sequence, cause };
}
