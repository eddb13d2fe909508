import { errors, type NatsConnection } from '@nats-io/transport-node';
import { MAX_JOB_PARTITIONS, type JobStream } from '@sluice/contracts';
import type { Bus } from '../channels/bus.ts';
import { openBucket, parseValue } from '../kv/bucket.ts';
import { changeEntry } from '../kv/compare-and-set.ts';
import { bucketStream } from '../provision/settings.ts';
import { buckets } from '../topology/buckets.ts';
import { lifetimes, scaledMs } from '../topology/lifetimes.ts';
import { jobStreamsOf, ONE_PARTITION, type JobLayout } from './layout.ts';

/** The one entry of the bucket. */
const KEY = 'layouts';

/** How long before a layout begins it is written down at least: every process has read it by then. */
const NOTICE_MS = scaledMs(600_000, 2_000);
/** How old what a process knows of the layouts becomes before it reads them again. */
const REREAD_MS = scaledMs(30_000, 100);
/** How old it may be where reading them fails: less than the notice. */
const STALE_MS = scaledMs(300_000, 1_000);

interface Recorded {
  readonly layouts: readonly JobLayout[];
}

const isRecorded = (value: object): value is Recorded =>
  'layouts' in value &&
  Array.isArray(value.layouts) &&
  value.layouts.length > 0 &&
  value.layouts.every(
    ({ fromMs, partitions }: Partial<JobLayout>) =>
      Number.isInteger(fromMs) && Number.isInteger(partitions) && partitions! >= 1 && partitions! <= MAX_JOB_PARTITIONS,
  );

const parse = (bytes: Uint8Array): readonly JobLayout[] => {
  const found = parseValue(bytes, isRecorded);
  // Jobs would be looked for in the wrong streams, and made a second time there.
  if (found === undefined) throw new Error(`the entry ${KEY} of ${buckets.jobLayouts.name} cannot be read`);
  return found.layouts;
};

/**
 * The layouts of the jobs in the order in which they begin. One partition on a broker whose gateway is older than the
 * setting, and for a user whom the broker's permissions do not let read it: both know of no other partition.
 */
export async function readJobLayouts(jsm: Bus['jsm']): Promise<readonly JobLayout[]> {
  const { name } = buckets.jobLayouts;
  const found = await jsm.direct
    .getMessage(bucketStream({ name }), { last_by_subj: `$KV.${name}.${KEY}` })
    .catch((error: unknown) => {
      const reason = error instanceof errors.RequestError ? (error.cause ?? error) : error;
      if (reason instanceof errors.NoRespondersError || reason instanceof errors.PermissionViolationError) return null;
      throw error;
    });
  return found === null ? ONE_PARTITION : parse(found.data);
}

/** The streams that hold jobs. */
export const jobStreamsNow = async (jsm: Bus['jsm']): Promise<readonly JobStream[]> =>
  jobStreamsOf(await readJobLayouts(jsm));

/**
 * Writes down over how many streams new jobs are divided. The first gateway of a new broker does so from the beginning;
 * later a larger number counts from the first midnight UTC that is far enough away for every process to have read it.
 * A smaller number changes nothing: the streams hold jobs. Safe to run from several processes at once.
 *
 * @returns the layouts that hold.
 */
export async function recordJobLayout(
  nc: NatsConnection,
  partitions: number,
  { isNew, nowMs }: { readonly isNew: boolean; readonly nowMs: number },
): Promise<readonly JobLayout[]> {
  const kv = await openBucket(nc, buckets.jobLayouts);
  let layouts = ONE_PARTITION;
  await changeEntry(kv, KEY, (entry) => {
    if (entry !== null) layouts = parse(entry.value);
    else layouts = isNew ? [{ fromMs: 0, partitions }] : ONE_PARTITION;
    const isRaise = layouts.every((layout) => layout.partitions < partitions);
    if (isRaise) layouts = [...layouts, { fromMs: nextDay(nowMs + NOTICE_MS), partitions }];
    return entry !== null && !isRaise ? undefined : JSON.stringify({ layouts } satisfies Recorded);
  });
  return layouts;
}

const nextDay = (ms: number): number => (Math.floor(ms / lifetimes.day) + 1) * lifetimes.day;

/**
 * What a process knows of the layouts: read at the first question, then again every half minute, beside the questions.
 *
 * @returns a function that answers with the layouts; it rejects when they were never read, or not for five minutes.
 */
export function followJobLayouts(jsm: Bus['jsm']): () => readonly JobLayout[] | Promise<readonly JobLayout[]> {
  let known: readonly JobLayout[] | undefined;
  let readAt = -Infinity;
  let reading: Promise<readonly JobLayout[]> | undefined;

  const read = (): Promise<readonly JobLayout[]> => {
    const askedAt = performance.now();
    reading ??= readJobLayouts(jsm)
      .then((layouts) => {
        readAt = askedAt;
        known = layouts;
        return layouts;
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };

  return () => {
    const age = performance.now() - readAt;
    if (known === undefined || age > STALE_MS) return read();
    if (age > REREAD_MS) read().catch(() => undefined);
    return known;
  };
}
