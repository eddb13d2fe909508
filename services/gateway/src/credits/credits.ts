import { CreditEntryKind, JobState, type Job } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import { ApiProblem } from '../http/problem.ts';
import { openBook, REMEMBERED_MS } from './book.ts';

/** What a job costs, by its kind. */
export type Prices = Readonly<Record<'image' | 'email', number>>;

export interface CreditSettings {
  readonly prices: Prices;
  /**
   * How old a charge is before its job is missed. Longer than any request takes from its charge to its job, so that
   * what is paid back is never a job that is just being accepted.
   */
  readonly graceMs: number;
}

export const defaultCredits: CreditSettings = { prices: { image: 1, email: 1 }, graceMs: 10 * 60_000 };

/** Nothing is charged; what was, is still paid back. */
export const creditsOff: CreditSettings = { ...defaultCredits, prices: { image: 0, email: 0 } };

/**
 * Credits: charged when a job is accepted, paid back when it fails for good or is cancelled.
 *
 * The charge comes before the job, so what is left in between by a crash is a charge without a job: every replica looks
 * for such charges and pays them back once they are older than any request. At rest the charges less the refunds of an
 * account are the price of its jobs that succeeded.
 */
export interface Credits {
  readonly prices: Prices;
  balance(account: string): Promise<number>;
  /**
   * Charges for a job that is about to be accepted. Returns false when nothing is to be charged: it costs nothing, or it
   * was charged before, by a request with the same key that is on its way or whose process did not live to see its end.
   *
   * @throws {ApiProblem} `insufficient_credits`.
   */
  charge(account: string, jobId: string, price: number): Promise<boolean>;
  /** The job is there: its charge stands. */
  confirm(jobId: string): void;
  /** Takes back a charge that met a job which was there already. */
  void(account: string, jobId: string, price: number): Promise<void>;
  /** Does what the end of a job asks for. Doing it again changes nothing. */
  settle(job: Job): Promise<void>;
  /** Pays back the charges whose job never came to be; returns how many. Runs by itself every now and then. */
  reconcile(): Promise<number>;
  close(): Promise<void>;
}

const { CHARGE, REFUND, VOID } = CreditEntryKind;
const ROUNDS_PER_GRACE = 10;

/** Opens the credits of this replica. */
export async function openCredits(
  { bus, jobs, log, now }: { bus: Bus; jobs: JobLog; log: Logger; now: () => number },
  { prices, graceMs }: CreditSettings,
): Promise<Credits> {
  const book = await openBook(bus, log, now);

  async function refund(account: string, jobId: string, amount: number, note: string): Promise<boolean> {
    const posted = await book.append(account, () =>
      book.wasRefunded(jobId) ? undefined : { kind: REFUND, amount, jobId, note },
    );
    return posted !== undefined;
  }

  async function reconcile(): Promise<number> {
    const nowMs = now();
    let paidBack = 0;
    for (const charge of book.open.values()) {
      if (charge.sure || nowMs - charge.atMs < graceMs) continue;
      const { account, jobId, amount } = charge;
      const found = (await jobs.read(jobId)) ?? (await jobs.read(jobId, 'leader'));
      if (found !== undefined) charge.sure = true;
      else if (await refund(account, jobId, amount, 'the job was never accepted')) paidBack += 1;
    }
    book.prune(nowMs - graceMs, nowMs - REMEMBERED_MS);
    return paidBack;
  }

  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    reconcile()
      .then((count) => (count > 0 ? log.warn({ count }, 'charges without a job were paid back') : undefined))
      .catch((error: unknown) => log.warn({ err: error }, 'charges could not be reconciled'))
      .finally(() => {
        busy = false;
      });
  }, graceMs / ROUNDS_PER_GRACE);
  timer.unref();

  return {
    prices,
    balance: async (account) => Number((await book.standing(account)).balance),
    async charge(account, jobId, price) {
      if (price === 0) return false;
      const posted = await book.append(account, ({ balance }) => {
        if (book.open.has(jobId)) return undefined;
        if (balance < BigInt(price)) {
          throw new ApiProblem('insufficient_credits', `This costs ${price} credits, and ${balance} are left.`);
        }
        return { kind: CHARGE, amount: -price, jobId };
      });
      return posted !== undefined;
    },
    confirm(jobId) {
      const charge = book.open.get(jobId);
      if (charge !== undefined) charge.sure = true;
    },
    async void(account, jobId, price) {
      await book.append(account, () => ({ kind: VOID, amount: price, jobId }));
    },
    async settle(job) {
      const { id: jobId, account, credits: price, replays: run } = job;
      if (price === 0) return;
      if (job.state === JobState.SUCCEEDED) {
        // The charge of the first run was paid back when that failed, so a run that an operator started is charged at
        // its end, whatever is left: the work is done.
        const charged = Math.max(1, run);
        await book.append(account, () =>
          (run === 0 && !book.wasRefunded(jobId)) || book.wasRecharged(jobId, charged)
            ? undefined
            : { kind: CHARGE, amount: -price, jobId, run: charged },
        );
      } else if (run === 0) {
        await refund(account, jobId, price, job.state === JobState.CANCELLED ? 'cancelled' : 'failed');
      }
    },
    reconcile,
    async close() {
      clearInterval(timer);
      await book.close();
    },
  };
}
