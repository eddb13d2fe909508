import { CreditEntryKind, JobState, type Job, type JobStream } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import { lifetimes, type Bus } from '@sluice/messaging';
import { GatewayError } from '../errors.ts';
import { jobsKeptMsOf } from '../lifetimes-kept.ts';
import { kindRules, pricesFrom, type Prices } from '../jobs/kinds/index.ts';
import { openLedger, type Posted } from './ledger.ts';

export interface CreditSettings {
  readonly prices: Prices;
  /**
   * How old a charge is before its job is looked for. Longer than any request takes from its charge to its job, so that
   * a charge whose job is just being accepted is left alone.
   */
  readonly graceMs: number;
}

export const defaultCredits: CreditSettings = {
  prices: pricesFrom((name) => kindRules[name].defaultPrice),
  graceMs: lifetimes.unclaimedCharge,
};

/** Nothing is charged; jobs that were charged before are still refunded when they fail. */
export const creditsOff: CreditSettings = { ...defaultCredits, prices: pricesFrom(() => 0) };

/**
 * What was found about a charge. `unverifiable`: its job is gone from JOBS or never was, and it cannot be known which any
 * more; the charge stands.
 */
export type ChargeFinding = 'not-a-charge' | 'young' | 'claimed' | 'reversed' | 'unverifiable';

/**
 * Credits: charged when a job is accepted, refunded when it fails for good or is cancelled.
 *
 * The charge comes before the job, and the job names the charge that pays for it. A charge that no job names (the process
 * died in between, or a concurrent request with the same key made the job) is reversed. At rest the charges less the
 * refunds and reversals of an account are the price of its jobs that succeeded.
 */
export interface Credits {
  readonly prices: Prices;
  balance(account: string): Promise<number>;
  /**
   * Charges for a job that is about to be accepted. Returns the charge, which the job is to name as `Job.charge`; 0 when
   * it costs nothing.
   *
   * @throws {GatewayError} `insufficient_credits`.
   */
  charge(account: string, jobId: string, price: number): Promise<bigint>;
  /** Takes back a charge that pays for no job. Doing it again changes nothing. */
  reverse(account: string, jobId: string, charge: bigint, price: number): Promise<boolean>;
  /** Enters what the end of a job asks for. Doing it again changes nothing. */
  complete(job: Job): Promise<void>;
  /**
   * Reverses an entry that charged for a job when that job was never made, or another charge pays for it. Doing it again
   * changes nothing.
   *
   * @param storedMs when the entry was stored.
   */
  checkCharge(posted: Posted, storedMs: number): Promise<ChargeFinding>;
}

const { CHARGE, REFUND, REVERSAL } = CreditEntryKind;

/** The credits of this process. Reads nothing: how much there is in the ledger makes no difference to a start. */
export function openCredits(
  {
    bus,
    jobs,
    now,
    jobsKeptMs,
    jobStreams,
  }: { bus: Bus; jobs: JobLog; now: () => number; jobsKeptMs?: number; jobStreams: readonly JobStream[] },
  { prices, graceMs }: CreditSettings,
): Credits {
  const ledger = openLedger(bus, now, jobsKeptMs);
  let asked: Promise<number> | undefined;
  /**
   * Up to which age of a charge JOBS surely has every job that was accepted after it, so that one which is not there was
   * never made. Half of what the server keeps, which an operator may have changed: clocks differ. Checks that run at the
   * same time share an answer.
   */
  const verifiableMs = (): Promise<number> =>
    (asked ??= jobsKeptMsOf(bus.jsm, jobStreams)
      .then((keptMs) => keptMs / 2)
      .finally(() => {
        asked = undefined;
      }));

  const reversalOf = (charge: bigint): string => `reversal-${charge}`;

  const reverse: Credits['reverse'] = (account, jobId, charge, price) =>
    ledger.appendStep(account, {
      kind: REVERSAL,
      amount: price,
      jobId,
      step: reversalOf(charge),
      note: 'pays for no job',
    });

  /** A job whose charge was reversed before the job was made: possible only for a request that slept through the grace. */
  async function chargeLate({ account, id: jobId, charge, credits: price }: Job): Promise<void> {
    if (charge === 0n || !(await ledger.hasStep(account, jobId, reversalOf(charge)))) return;
    await ledger.appendStep(account, { kind: CHARGE, amount: -price, jobId, step: 'late-charge' });
  }

  return {
    prices,
    balance: async (account) => Number((await ledger.standing(account)).balance),
    async charge(account, jobId, price) {
      if (price === 0) return 0n;
      const { sequence } = await ledger.append(account, ({ balance }) => {
        if (balance < BigInt(price)) {
          throw new GatewayError('insufficient_credits', `This costs ${price} credits, and ${balance} are left.`);
        }
        return { kind: CHARGE, amount: -price, jobId };
      });
      return BigInt(sequence);
    },
    reverse,
    async complete(job) {
      const { id: jobId, account, credits: price, replays: run } = job;
      if (price === 0) return;
      if (run === 0) {
        await chargeLate(job);
        if (job.state === JobState.SUCCEEDED) return;
        const note = job.state === JobState.CANCELLED ? 'cancelled' : 'failed';
        await ledger.appendStep(account, { kind: REFUND, amount: price, jobId, step: 'refund', note });
      } else if (job.state === JobState.SUCCEEDED) {
        // The charge was refunded when the first run failed. A run that an operator started again is charged at its end,
        // even below a balance of 0: the work is done.
        await ledger.appendStep(account, { kind: CHARGE, amount: -price, jobId, run, step: `run-${run}` });
      }
    },
    async checkCharge({ entry, sequence }, storedMs) {
      const { account, jobId, kind, step } = entry;
      if (kind !== CHARGE || entry.run !== 0 || step !== '') return 'not-a-charge';
      const ageMs = now() - storedMs;
      if (ageMs < graceMs) return 'young';
      // What was charged before the jobs named their charges has none to compare.
      const claims = (job: Job): boolean => job.credits > 0 && (job.charge === 0n || job.charge === BigInt(sequence));
      const seen = await jobs.read(jobId);
      if (seen !== undefined && claims(seen.job)) return 'claimed';
      if (seen === undefined && ageMs > (await verifiableMs())) return 'unverifiable';
      // A replica may not have it yet.
      const found = seen ?? (await jobs.read(jobId, 'leader'));
      if (found !== undefined && claims(found.job)) return 'claimed';
      await reverse(account, jobId, BigInt(sequence), -Number(entry.amount));
      // Made between the look and the reversal: the second of the two, this or the end of the job, sees the other.
      const late = found ?? (await jobs.read(jobId, 'leader'));
      if (late !== undefined && claims(late.job)) await chargeLate(late.job);
      return 'reversed';
    },
  };
}
