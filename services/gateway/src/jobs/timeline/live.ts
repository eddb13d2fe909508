import { channels, jobChannelOf, type JobStream } from '@sluice/contracts';
import { tail, type Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import { ownApps, storedJobEntry, storedLifecycleEntries, type StoredEntry } from './timeline.ts';

type Listener = (stored: StoredEntry) => void;

/**
 * What happens to jobs, as it happens: one tail on each stream of jobs and one on `EVENTS` per process, fanned out to the open streams.
 * A thousand open streams cost the broker two consumers, and no open stream costs it none: the tails are opened for the
 * first listener and closed when there has been none for a while.
 */
export interface LiveJobs {
  /** Calls back for every event of a job until it is stopped. */
  listen(jobId: string, listener: Listener): Listening;
  close(): Promise<void>;
}

export interface Listening {
  /** Resolves once nothing is missed any more: a history read after it has no gap to what the listener hears. */
  readonly heard: Promise<void>;
  stop(): void;
}

export interface LiveSettings {
  /** The streams of jobs. */
  readonly jobStreams: readonly JobStream[];
  /** How long the tails stay open without a listener: the next client rarely comes much later. */
  readonly idleMs?: number;
}

const IDLE_MS = 30_000;

/** Opens nothing yet. */
export function liveJobs(bus: Bus, log: Logger, { jobStreams, idleMs = IDLE_MS }: LiveSettings): LiveJobs {
  const listeners = new Map<string, Set<Listener>>();
  let tails: Promise<() => Promise<void>> | undefined;
  let idle: NodeJS.Timeout | undefined;

  const jobOf = (subject: string): string => subject.slice(subject.lastIndexOf('.') + 1);
  // Most jobs have no watcher: their events are not even decoded.
  const wanted = (subject: string): boolean => listeners.has(jobOf(subject));
  const tell = (subject: string, stored: StoredEntry): void => {
    for (const listener of listeners.get(jobOf(subject)) ?? []) listener(stored);
  };
  const onBroken = (sequence: number, error: unknown): void =>
    log.warn({ err: error, sequence }, 'an event cannot be read');

  const open = async (): Promise<() => Promise<void>> => {
    const ofStream = (stream: JobStream): Promise<() => Promise<void>> =>
      tail(bus.nc, jobChannelOf(stream), {
        from: 'new',
        onMessage: (message) => tell(message.subject, storedJobEntry(message)),
        onBroken,
        wanted,
      });
    const ofEvents = tail(bus.nc, channels.event, {
      from: 'new',
      onMessage: (message) => {
        for (const stored of storedLifecycleEntries(message)) tell(message.subject, stored);
      },
      onBroken,
      wanted,
      subjects: ownApps.map((app) => `events.${app}.*`),
    });
    const opened = await Promise.allSettled([...jobStreams.map(ofStream), ofEvents]);
    const stop = async (): Promise<void> => {
      await Promise.all(opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value()] : [])));
    };
    const failed = opened.find((each) => each.status === 'rejected');
    if (failed === undefined) return stop;
    await stop();
    throw failed.reason;
  };
  const shut = async (): Promise<void> => {
    clearTimeout(idle);
    const opened = tails;
    tails = undefined;
    await opened?.then((stop) => stop());
  };

  return {
    listen(jobId, listener) {
      clearTimeout(idle);
      const found = listeners.get(jobId) ?? new Set();
      listeners.set(jobId, found.add(listener));
      tails ??= open().catch((error: unknown) => {
        // The next listener tries again.
        tails = undefined;
        throw error;
      });
      return {
        heard: tails.then(() => undefined),
        stop() {
          found.delete(listener);
          if (found.size === 0 && listeners.get(jobId) === found) listeners.delete(jobId);
          if (listeners.size > 0) return;
          clearTimeout(idle);
          idle = setTimeout(() => {
            shut().catch((error: unknown) => log.debug({ err: error }, 'the tails were not closed'));
          }, idleMs);
          idle.unref();
        },
      };
    },
    close: shut,
  };
}
