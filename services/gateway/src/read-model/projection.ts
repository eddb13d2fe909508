import { channels, type JobEvent, type LifecycleEvent } from '@sluice/contracts';
import { tail, type Bus, type Tailed } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import type { Projected, ReadModel } from './read-model.ts';

const BATCH = 1_000;
// A list may be this far behind its jobs. Longer batches cost less: a transaction, and repeats of a message folded.
const BATCH_WAIT_MS = 50;
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
}: ProjectionSettings): Promise<Projection> {
  const jobs: Projected<JobEvent>[] = [];
  const events: Projected<LifecycleEvent>[] = [];
  const caughtUp = Promise.withResolvers<void>();
  const goals = await goalsOf(bus, model);
  const behind = { JOBS: 0, EVENTS: 0 };
  let done = 0;
  let timer: NodeJS.Timeout | undefined;

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const [jobBatch, eventBatch] = [jobs.splice(0), events.splice(0)];
    if (jobBatch.length + eventBatch.length > 0) {
      try {
        model.apply(jobBatch, eventBatch);
      } catch (error) {
        // The checkpoint did not move, so a restart takes the batch in again.
        log.error({ err: error }, 'the read model did not take a batch');
      }
      done += jobBatch.length + eventBatch.length;
      onProgress?.(done, behind.JOBS + behind.EVENTS);
    }
    if (model.checkpoint('JOBS') >= goals.JOBS && model.checkpoint('EVENTS') >= goals.EVENTS) caughtUp.resolve();
  };
  const collect = <T>(stream: 'JOBS' | 'EVENTS', into: Projected<T>[], message: Tailed<T>): void => {
    into.push({ data: message.data, sequence: message.sequence, storedMs: message.storedAt.getTime() });
    if (jobs.length + events.length >= BATCH) {
      behind[stream] = message.behind;
      flush();
    }
    timer ??= setTimeout(flush, BATCH_WAIT_MS);
  };
  const onBroken = (sequence: number, error: unknown): void =>
    log.warn({ err: error, sequence }, 'an event cannot be read');

  const stopJobs = await tail(bus.nc, channels.job, {
    from: model.checkpoint('JOBS') + 1,
    onMessage: (message) => collect('JOBS', jobs, message),
    onBroken,
  });
  const stopEvents = await tail(bus.nc, channels.event, {
    from: model.checkpoint('EVENTS') + 1,
    onMessage: (message) => collect('EVENTS', events, message),
    onBroken,
  });
  const pruning = setInterval(() => model.prune(now() - KEPT_MS), PRUNE_EVERY_MS);
  flush();

  return {
    caughtUp: caughtUp.promise,
    async close() {
      clearInterval(pruning);
      await Promise.all([stopJobs(), stopEvents()]);
      flush();
    },
  };
}

/** Where the streams end now. A model that stands further has seen another broker's streams: it is of no use here. */
async function goalsOf(bus: Bus, model: ReadModel): Promise<{ JOBS: number; EVENTS: number }> {
  const [jobs, events] = await Promise.all(
    (['JOBS', 'EVENTS'] as const).map(async (stream) => {
      const { state } = await bus.jsm.streams.info(stream);
      if (model.checkpoint(stream) > state.last_seq) throw new StaleReadModelError(stream);
      return state.messages === 0 ? 0 : state.last_seq;
    }),
  );
  return { JOBS: jobs ?? 0, EVENTS: events ?? 0 };
}

/** The read model was made from other streams than these. Delete it: it is rebuilt. */
export class StaleReadModelError extends Error {
  override readonly name = 'StaleReadModelError';
  readonly code = 'read_model_stale';
  constructor(stream: string) {
    super(`the read model has seen more of ${stream} than there is: it belongs to another broker. Delete its file.`);
  }
}
