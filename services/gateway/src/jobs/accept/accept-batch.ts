import { acceptJob, type Acceptance, type AcceptDeps, type NewJob } from './accept-job.ts';
import { admit, assertSameRequest } from './idempotency.ts';
import { requestHash } from './request-hash.ts';
import { GatewayError } from '../../errors.ts';

/** Jobs of one request that are made at once: enough to hide the broker's answer, and few for the account's ledger. */
const CONCURRENCY = 16;

/** One job of a request for many: as it is to be made, or why it cannot be. */
export type BatchItem = NewJob | GatewayError;

const isRefusal = (item: BatchItem | Acceptance): item is GatewayError => item instanceof GatewayError;

/**
 * Accepts many jobs of one account, each for itself: what refuses one leaves the others alone. With a key, a repeat of
 * the same items meets the jobs of the first request, and tries those again that were refused.
 *
 * @param key of the whole request. Each item has one of its own from it, with a line break that no client's key contains.
 * @returns for every item, in order, its job or why there is none.
 * @throws {GatewayError} `idempotency_key_reused` when the key belongs to another request; no job is made then.
 * @throws {PublishError} when the broker did not confirm one of them. With a key, repeat it; without one, what was
 * accepted is not known.
 */
export async function acceptBatch(
  deps: AcceptDeps,
  account: string,
  items: readonly BatchItem[],
  key: string | undefined,
): Promise<readonly (Acceptance | GatewayError)[]> {
  // Every job's hash takes in the whole request: one that differs in a single item is another request.
  const batch = requestHash(items.map((item) => (isRefusal(item) ? `refused ${item.code}` : item.requestHash)));
  const jobs = items.map((item) =>
    isRefusal(item) ? item : { ...item, requestHash: requestHash({ batch, item: item.requestHash }) },
  );
  const admissions = await inParallel(jobs, async (job, index) => {
    if (isRefusal(job)) return job;
    const admission = await admit(
      deps.log,
      account,
      key === undefined ? undefined : `${key}\n${index}`,
      deps.now(),
      deps.keyDays,
    );
    if (admission.existing !== undefined) assertSameRequest(admission.existing, job.requestHash);
    return { job, admission };
  });
  return inParallel(admissions, async (admitted) => {
    if (admitted instanceof GatewayError) return admitted;
    try {
      return await acceptJob(deps, admitted.job, admitted.admission);
    } catch (error) {
      if (error instanceof GatewayError) return error;
      throw error;
    }
  });
}

/** Runs for every entry, some at once, and keeps the order. After the first failure no further one is begun. */
async function inParallel<T, R>(
  entries: readonly T[],
  run: (entry: T, index: number) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  let next = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    while (next < entries.length && !failed) {
      const index = next;
      next += 1;
      try {
        results[index] = await run(entries[index] as T, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: Math.min(CONCURRENCY, entries.length) }, work));
  const broken = workers.find((worker) => worker.status === 'rejected');
  if (broken !== undefined) throw broken.reason;
  return results;
}
