import { channels, eventsIn, isSubjectToken, jobKindEntries, type LifecycleEvent } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import { WEBHOOKS_APP } from '../../webhooks/delivery.ts';
import { entryOfJob, entryOfLifecycle, type TimelineEntry } from './entry.ts';

/** The services whose words about a job make up its timeline. */
export const ownApps: readonly string[] = [
  ...new Set(['gateway', ...jobKindEntries.map(([, { service }]) => service), 'client', WEBHOOKS_APP]),
];

/** Where the events of a job are. */
export interface TimelinePlaces {
  readonly bus: Bus;
  readonly jobs: Pick<JobLog, 'history'>;
}

/** An entry with its stream and its sequence there. */
export interface StoredEntry {
  readonly entry: TimelineEntry;
  /** `JOBS` for any of its partitions: all events of a job are in the same one. */
  readonly stream: 'JOBS' | 'EVENTS';
  readonly sequence: number;
  /** When it was stored, or would have been, had it not waited to be sent with others. */
  readonly storedMs: number;
  /** True for the event that ended the job. */
  readonly final: boolean;
  /** Its place among those that were sent as one message, under the same sequence. */
  readonly index: number;
  /** True while others of them follow. */
  readonly more: boolean;
}

// An erased job has no other event left: its erasure stands for its end.
const finals: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'erased']);

export const storedJobEntry = (stored: {
  data: Parameters<typeof entryOfJob>[0];
  sequence: number;
  storedAt: Date;
}): StoredEntry => {
  const entry = entryOfJob(stored.data);
  const final = finals.has(entry.event);
  return {
    entry,
    stream: 'JOBS',
    sequence: stored.sequence,
    storedMs: stored.storedAt.getTime(),
    final,
    index: 0,
    more: false,
  };
};

/** What one message of `EVENTS` tells, oldest first. */
export const storedLifecycleEntries = (stored: {
  data: LifecycleEvent;
  sequence: number;
  storedAt: Date;
}): readonly StoredEntry[] =>
  eventsIn(stored.data).map(({ event, heldMs }, index, { length }) => ({
    entry: entryOfLifecycle(event),
    stream: 'EVENTS',
    sequence: stored.sequence,
    storedMs: stored.storedAt.getTime() - heldMs,
    final: false,
    index,
    more: index < length - 1,
  }));

/**
 * Everything known about a job, oldest first by the broker's clock: the one clock that all replicas share. One read per
 * message, each by its literal subject, which the server finds by index.
 */
export async function jobTimeline({ bus, jobs }: TimelinePlaces, jobId: string): Promise<StoredEntry[]> {
  const moves = collect(jobs.history(jobId), (stored) => [storedJobEntry(stored)]);
  const words = ownApps.map(async (appId) =>
    inOrderTold(await collect(bus.history(channels.event, { appId, messageId: jobId }), storedLifecycleEntries)),
  );
  const found = (await Promise.all([moves, ...words])).flat();
  return found.sort(byTime);
}

/**
 * The words of one service, none before what it said earlier: when the broker stood still, a word that did not wait was
 * stored as late as one behind it that was held back, and the time of holding would put that before it.
 */
export function inOrderTold(words: readonly StoredEntry[]): StoredEntry[] {
  let latestMs = -Infinity;
  return words.map((word) => {
    latestMs = Math.max(latestMs, word.storedMs);
    return word.storedMs === latestMs ? word : { ...word, storedMs: latestMs };
  });
}

/**
 * What is known about one message of any system, oldest first, from a sequence on: `limit` events, those that were sent
 * with the last of them, and the first that follow.
 */
export async function messageTimeline(
  bus: Bus,
  appId: string,
  messageId: string,
  page: { readonly from?: number; readonly limit: number },
): Promise<StoredEntry[]> {
  const found: StoredEntry[] = [];
  if (!isSubjectToken(appId) || !isSubjectToken(messageId)) return found;
  for await (const stored of bus.history(channels.event, { appId, messageId }, page.from)) {
    const before = found.length;
    found.push(...storedLifecycleEntries(stored));
    if (before > 0 && found.length > page.limit) break;
  }
  return found;
}

const byTime = (a: StoredEntry, b: StoredEntry): number =>
  a.storedMs - b.storedMs || (a.stream === b.stream ? a.sequence - b.sequence : a.stream === 'JOBS' ? -1 : 1);

async function collect<S, T>(from: AsyncIterable<S>, map: (stored: S) => readonly T[]): Promise<T[]> {
  const found: T[] = [];
  for await (const stored of from) found.push(...map(stored));
  return found;
}
