import { channels } from '@sluice/contracts';
import { tail, type Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import { ownApps, placeJob, placeLifecycle, type PlacedEntry } from './timeline.ts';

type Listener = (placed: PlacedEntry) => void;

/**
 * What happens to jobs, as it happens: one tail on `JOBS` and one on `EVENTS` per process, fanned out to whoever waits.
 * A thousand open streams cost the broker two consumers. Listeners read the history after they began to listen, so
 * nothing falls between.
 */
export interface LiveJobs {
  /** Calls back for every event of a job until the returned function is called. */
  listen(jobId: string, listener: Listener): () => void;
  close(): Promise<void>;
}

/** Starts the two tails. */
export async function startLiveJobs(bus: Bus, log: Logger): Promise<LiveJobs> {
  const listeners = new Map<string, Set<Listener>>();

  const jobOf = (subject: string): string => subject.slice(subject.lastIndexOf('.') + 1);
  // Most jobs are watched by nobody: their events are not even decoded.
  const wanted = (subject: string): boolean => listeners.has(jobOf(subject));
  const tell = (subject: string, placed: PlacedEntry): void => {
    for (const listener of listeners.get(jobOf(subject)) ?? []) listener(placed);
  };
  const onBroken = (sequence: number, error: unknown): void =>
    log.warn({ err: error, sequence }, 'an event cannot be read');

  const stopJobs = await tail(bus.nc, channels.job, {
    from: 'new',
    onMessage: (message) => tell(message.subject, placeJob(message)),
    onBroken,
    wanted,
  });
  const stopEvents = await tail(bus.nc, channels.event, {
    from: 'new',
    onMessage: (message) => tell(message.subject, placeLifecycle(message)),
    onBroken,
    wanted,
    subjects: ownApps.map((app) => `events.${app}.*`),
  });

  return {
    listen(jobId, listener) {
      const found = listeners.get(jobId) ?? new Set();
      listeners.set(jobId, found.add(listener));
      return () => {
        found.delete(listener);
        if (found.size === 0) listeners.delete(jobId);
      };
    },
    async close() {
      await Promise.all([stopJobs(), stopEvents()]);
    },
  };
}
