import { timestampMs } from '@bufbuild/protobuf/wkt';
import { jobIdFor, newJobId, type JobLog, type JobRecord } from '@sluice/jobs';
import { lifetimes } from '@sluice/messaging';
import { GatewayError, invalidField } from '../../errors.ts';
import { isAroundMidnight, type KeyDays } from './key-days.ts';

const DAY_MS = lifetimes.day;
/** How long a key is honoured, from the acceptance of its job. After that it is as new. */
export const KEY_LIFE_MS = lifetimes.idempotencyKey;
/**
 * How many days before today a key that is still honoured can have been used first: its life, and another day for a
 * request that was admitted before midnight and accepted after.
 */
const DAYS_BACK = KEY_LIFE_MS / DAY_MS + 1;

/** A key has one id per day of its first use, so an id never comes back, however long everything keyed by it is kept. */
export const keyGeneration = (nowMs: number): number => Math.floor(nowMs / DAY_MS);

/** Where a request with a key stands before it is carried out. */
export interface Admission {
  readonly jobId: string;
  /** The time that the job counts as accepted at, for every request with the key: `JobLog.accept` is given it. */
  readonly acceptedMs: number;
  /** The job that an earlier request with this key made. */
  readonly existing: JobRecord | undefined;
}

/**
 * The id of the job a request is to make, and the job that is there already when its key was used within the last day.
 * Without a key the id is random and nothing is looked up. Around midnight UTC `days` makes two requests with one key agree on
 * its day, which is part of the id.
 */
export async function admit(
  log: JobLog,
  account: string,
  key: string | undefined,
  nowMs: number,
  days?: KeyDays,
): Promise<Admission> {
  if (key === undefined) return { jobId: newJobId(), acceptedMs: nowMs, existing: undefined };
  const today = keyGeneration(nowMs);
  // Generation 0 is the first use of a key in versions that counted uses.
  const generations = [...Array.from({ length: DAYS_BACK + 1 }, (_, days) => today - days), 0];
  /** Where the job of a generation is depends on its day alone. */
  const lookUp = (generation: number, from?: 'leader'): Promise<JobRecord | undefined> =>
    log.read(jobIdFor(account, key, generation), from, generation * DAY_MS);
  // A replica that lags may not know the job yet: then the append is refused, and that is where it is found.
  const found = await Promise.all(generations.map((generation) => lookUp(generation)));
  const existing = found.find((record) => record !== undefined && isFresh(record, nowMs)) ?? found[0];
  if (existing !== undefined) return { jobId: existing.job.id, acceptedMs: nowMs, existing };
  const day = await dayOf(account, key, nowMs, days);
  // The request that said another day may have made its job since this one looked.
  const made = day === today ? undefined : await lookUp(day, 'leader');
  return { jobId: jobIdFor(account, key, day), acceptedMs: day * DAY_MS, existing: made };
}

/**
 * Like {@link admit} for a request whose job has an id of its own, which the client may repeat: on both sides of midnight
 * UTC it makes one job.
 */
export async function admitId(
  log: JobLog,
  account: string,
  jobId: string,
  nowMs: number,
  days?: KeyDays,
): Promise<Admission> {
  const existing = await log.read(jobId, 'leader');
  if (existing !== undefined) return { jobId, acceptedMs: nowMs, existing };
  const day = await dayOf(account, jobId, nowMs, days);
  const made = day === keyGeneration(nowMs) ? undefined : await log.read(jobId, 'leader');
  return { jobId, acceptedMs: day * DAY_MS, existing: made };
}

/** The day that a request counts for: agreed on around midnight. */
async function dayOf(account: string, key: string, nowMs: number, days: KeyDays | undefined): Promise<number> {
  const today = keyGeneration(nowMs);
  return days === undefined || !isAroundMidnight(nowMs) ? today : days.agree(account, key, today);
}

const isFresh = ({ job }: JobRecord, nowMs: number): boolean =>
  job.createdAt === undefined || nowMs - timestampMs(job.createdAt) < KEY_LIFE_MS;

/** Refuses a key that belongs to another request. */
export function assertSameRequest(existing: JobRecord, requestHash: string): void {
  if (existing.job.requestHash === requestHash) return;
  throw new GatewayError('idempotency_key_reused', 'This Idempotency-Key was used for another request.', {
    jobId: existing.job.id,
  });
}

/**
 * The keys whose requests are being answered by this process. A second request meets 409 instead of uploading the same
 * again; between replicas the compare-and-set on the job decides, so there it is merely wasteful.
 */
export class KeysInProgress {
  readonly #keys = new Set<string>();

  async hold<R>(account: string, key: string | undefined, run: () => Promise<R>): Promise<R> {
    if (key === undefined) return run();
    const held = `${account}\0${key}`;
    if (this.#keys.has(held)) {
      throw new GatewayError(
        'request_in_progress',
        'The first request with this Idempotency-Key is not answered yet.',
        {
          retryAfterSeconds: 1,
        },
      );
    }
    this.#keys.add(held);
    try {
      return await run();
    } finally {
      this.#keys.delete(held);
    }
  }
}

/**
 * The key of an `Idempotency-Key` header. The draft (draft-ietf-httpapi-idempotency-key-header-07) has it as a quoted
 * string; most clients send it bare, so both are taken.
 */
export function keyOf(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = typeof header === 'string' ? header.trim() : header.join(',');
  const key = /^"((?:[^"\\]|\\.)*)"$/.exec(text)?.[1]?.replace(/\\(.)/g, '$1') ?? text;
  if (!/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw invalidField('/headers/idempotency-key', 'must be 1 to 255 printable ASCII characters');
  }
  return key;
}
