import { channels, type JobEvent, type LifecycleEvent } from '@sluice/contracts';
import { tail, type Bus, type Tailed } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Projected, ReadModel } from './read-model.ts';

const BATCH = 1_000;
// A list may be this far behind its jobs. Longer batches cost less: a transaction, and repeats of a message folded.
const BATCH_WAIT_MS = 50;
/** How long a model that did not take a batch is left alone: a lock goes by, a disk is cleared. */
const RETRY_MS = 1_000;
const PRUNE_EVERY_MS = 3_600_000;
/** What `JOBS` and `EVENTS` keep. */
const KEPT_MS = 7 * 24 * 3_600_000;

export interface ProjectionSettings {
  readonly bus: Bus;
  readonly model: ReadModel;
  readonly log: Logger;
  readonly now?: () => number;
  /** Called after every batch: how many messages were taken in so far, and how many are known to follow. */
  readonly onProgress?: (done: number, behind: number) => void;
  readonly retryMs?: number;
}

/** A projection at work: collect, aggregate, store. */
export interface Projection {
  /** Resolves once everything is in that was in the streams when the projection began. */
  readonly caughtUp: Promise<void>;
  close(): Promise<void>;
}

/**
 * Feeds the read model from where it stands: both streams in order, in batches of one transaction each. It needs
 * nothing on the broker that outlives it, so every replica has its own.
 */
export async function startProjection({
  bus,
  model,
  log,
  now = Date.now,
  onProgress,
  retryMs = RETRY_MS,
}: ProjectionSettings): Promise<Projection> {
  const jobs: Projected<JobEvent>[] = [];
  const events: Projected<LifecycleEvent>[] = [];
  const caughtUp = Promise.withResolvers<void>();
  const goals = await goalsOf(bus, model);
  const behind = { JOBS: 0, EVENTS: 0 };
  /** The last message of each stream that cannot be read: passed over, and behind us all the same. */
  const unread = { JOBS: 0, EVENTS: 0 };
  let done = 0;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  /** Counts how often the streams were taken up: what an earlier round still hands in is not heard. */
  let round = 0;

  const isThrough = (stream: 'JOBS' | 'EVENTS'): boolean =>
    Math.max(model.checkpoint(stream), unread[stream]) >= goals[stream];

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const [jobBatch, eventBatch] = [jobs.splice(0), events.splice(0)];
    if (jobBatch.length + eventBatch.length > 0) {
      try {
        model.apply(jobBatch, eventBatch);
      } catch (error) {
        log.error({ err: error }, 'the read model did not take a batch: it is read again from where it stands');
        if (!closed) takeUpAgain();
        return;
      }
      done += jobBatch.length + eventBatch.length;
      onProgress?.(done, behind.JOBS + behind.EVENTS);
    }
    if (isThrough('JOBS') && isThrough('EVENTS')) caughtUp.resolve();
  };
  const collect = <T>(stream: 'JOBS' | 'EVENTS', into: Projected<T>[], message: Tailed<T>): void => {
    into.push({ data: message.data, sequence: message.sequence, storedMs: message.storedAt.getTime() });
    if (jobs.length + events.length >= BATCH) {
      behind[stream] = message.behind;
      flush();
    }
    timer ??= setTimeout(flush, BATCH_WAIT_MS);
  };
  const passOver = (stream: 'JOBS' | 'EVENTS', sequence: number, error: unknown): void => {
    log.warn({ err: error, sequence }, 'an event cannot be read');
    unread[stream] = sequence;
    timer ??= setTimeout(flush, BATCH_WAIT_MS);
  };

  const follow = async (): Promise<() => Promise<void>> => {
    const mine = (round += 1);
    const stopJobs = await tail(bus.nc, channels.job, {
      from: model.checkpoint('JOBS') + 1,
      onMessage: (message) => (mine === round ? collect('JOBS', jobs, message) : undefined),
      onBroken: (sequence, error) => (mine === round ? passOver('JOBS', sequence, error) : undefined),
    });
    const stopEvents = await tail(bus.nc, channels.event, {
      from: model.checkpoint('EVENTS') + 1,
      onMessage: (message) => (mine === round ? collect('EVENTS', events, message) : undefined),
      onBroken: (sequence, error) => (mine === round ? passOver('EVENTS', sequence, error) : undefined),
    }).catch(async (error: unknown) => {
      await stopJobs();
      throw error;
    });
    return async () => {
      await Promise.all([stopJobs(), stopEvents()]);
    };
  };

  /**
   * The checkpoint did not move, and what comes next must not move it past the gap. So both streams are taken up again
   * from there, which holds nothing in memory however long the model refuses.
   */
  const takeUpAgain = (): void => {
    round += 1;
    const before = tails;
    tails = (async () => {
      // What cannot be stopped is not heard any more either.
      await before.then((stop) => stop()).catch(() => undefined);
      for (;;) {
        await sleep(retryMs, undefined, { ref: false });
        if (closed) return () => Promise.resolve();
        try {
          return await follow();
        } catch (error) {
          log.warn({ err: error }, 'the streams behind the read model could not be taken up again');
        }
      }
    })();
  };

  let tails: Promise<() => Promise<void>> = follow();
  await tails;
  const pruning = setInterval(() => {
    try {
      model.prune(now() - KEPT_MS);
    } catch (error) {
      log.warn({ err: error }, 'the read model could not be pruned');
    }
  }, PRUNE_EVERY_MS);
  flush();

  return {
    caughtUp: caughtUp.promise,
    async close() {
      closed = true;
      clearInterval(pruning);
      await (
        await tails
      )();
      flush();
    },
  };
}

/**
 * Where the streams end now: at the last message that is there, which need not be the last one there ever was. A model
 * that stands further has seen another broker's streams: it is of no use here.
 */
async function goalsOf(bus: Bus, model: ReadModel): Promise<{ JOBS: number; EVENTS: number }> {
  const endOf = async (stream: 'JOBS' | 'EVENTS', subjects: string): Promise<number> => {
    const { state } = await bus.jsm.streams.info(stream);
    if (model.checkpoint(stream) > state.last_seq) throw new StaleReadModelError(stream);
    if (state.messages === 0) return 0;
    return (await bus.jsm.streams.getMessage(stream, { last_by_subj: subjects }))?.seq ?? 0;
  };
  const [jobs, events] = await Promise.all([endOf('JOBS', 'jobs.*'), endOf('EVENTS', 'events.*.*')]);
  return { JOBS: jobs, EVENTS: events };
}

/** The read model was made from other streams than these. Delete it: it is rebuilt. */
export class StaleReadModelError extends Error {
  override readonly name = 'StaleReadModelError';
  readonly code = 'read_model_stale';
  constructor(stream: string) {
    super(`the read model has seen more of ${stream} than there is: it belongs to another broker. Delete its file.`);
  }
}
