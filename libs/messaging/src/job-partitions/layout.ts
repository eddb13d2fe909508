import { jobChannels, type JobStream } from '@sluice/contracts';

/** Over how many streams new jobs are divided, from a time on. */
export interface JobLayout {
  /** The beginning of a day: an `Idempotency-Key` has one id per day, and so one stream. */
  readonly fromMs: number;
  readonly partitions: number;
}

/** One of the channels that jobs are published to. */
export type JobChannel = (typeof jobChannels)[number];

/** Jobs as versions before the setting have them: all in `JOBS`. */
export const ONE_PARTITION: readonly JobLayout[] = [{ fromMs: 0, partitions: 1 }];

/** FNV-1a: spreads ids evenly, and is the same in every version. */
function hashOf(jobId: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < jobId.length; at += 1) hash = Math.imul(hash ^ jobId.charCodeAt(at), 0x01000193);
  // The low bits of the product depend on the low bits of the characters alone.
  return (hash ^ (hash >>> 16)) >>> 0;
}

const channelIn = (jobId: string, partitions: number): JobChannel => jobChannels[hashOf(jobId) % partitions]!;

/** The layout of a time. `layouts` are in the order in which they begin, the first one with 0. */
export const layoutAt = (layouts: readonly JobLayout[], ms: number): JobLayout =>
  layouts.findLast(({ fromMs }) => fromMs <= ms) ?? layouts[0]!;

/** Where a job lives from its first event to its last, by the time that it counts as accepted at. */
export const homeOf = (layouts: readonly JobLayout[], jobId: string, acceptedMs: number): JobChannel =>
  channelIn(jobId, layoutAt(layouts, acceptedMs).partitions);

/** Where a job can be whose time is not known: the stream of the newest layout first. */
export function placesOf(layouts: readonly JobLayout[], jobId: string): readonly JobChannel[] {
  const [only] = layouts;
  if (layouts.length === 1 && only !== undefined) return [channelIn(jobId, only.partitions)];
  return [...new Set(layouts.toReversed().map(({ partitions }) => channelIn(jobId, partitions)))];
}

/** The streams that hold jobs of any layout, and those of a layout that is still to begin. */
export const jobStreamsOf = (layouts: readonly JobLayout[]): readonly JobStream[] =>
  jobChannels.slice(0, Math.max(...layouts.map(({ partitions }) => partitions))).map(({ stream }) => stream);
