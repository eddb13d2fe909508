import { channels, CreditEntryKind, jobChannelOf, JobState, type Job } from '@sluice/contracts';
import { stateName } from '@sluice/jobs';
import { jobStreamsNow, type Bus } from '@sluice/messaging';

/** What the ledger and the jobs of one account say. */
export interface Account {
  readonly granted: number;
  /** Charges less the ones that were taken back at once. */
  readonly charged: number;
  readonly refunded: number;
  /** Of the last entry. */
  readonly balance: number;
  /** The prices of its jobs that succeeded. */
  readonly earned: number;
  readonly jobs: number;
}

/** Every account with its jobs, and everything that does not add up, a line each. */
export async function auditLedger(
  bus: Bus,
): Promise<{ readonly accounts: ReadonlyMap<string, Account>; readonly wrong: readonly string[] }> {
  const wrong: string[] = [];
  const jobs = await lastStates(bus);
  const accounts = new Map<string, Sums>();
  const paid = new Map<string, { charges: number; refunds: number; net: number }>();

  for await (const { data: entry, sequence } of bus.history(channels.credits, { account: '*' })) {
    const amount = Number(entry.amount);
    const account = accounts.get(entry.account) ?? blank();
    accounts.set(entry.account, account);
    account.balance += amount;
    if (Number(entry.balance) !== account.balance)
      wrong.push(`entry ${sequence} of ${entry.account} says ${entry.balance}, the sum is ${account.balance}`);
    if (account.balance < 0) wrong.push(`${entry.account} is below zero after entry ${sequence}`);
    if (entry.kind === CreditEntryKind.GRANT) {
      account.granted += amount;
      continue;
    }
    const job = paid.get(entry.jobId) ?? { charges: 0, refunds: 0, net: 0 };
    paid.set(entry.jobId, job);
    job.net -= amount;
    if (entry.kind === CreditEntryKind.REFUND) {
      account.refunded += amount;
      job.refunds += 1;
    } else {
      account.charged -= amount;
      job.charges += entry.kind === CreditEntryKind.CHARGE ? 1 : -1;
    }
  }

  for (const [id, { charges, refunds, net }] of paid) {
    const job = jobs.get(id);
    const state = job === undefined ? 'never accepted' : stateName(job.state);
    const due = job?.state === JobState.SUCCEEDED ? job.credits : 0;
    if (net !== due)
      wrong.push(`${id}, ${state}, cost ${net} instead of ${due}: ${charges} charges, ${refunds} refunds`);
    if (refunds > charges) wrong.push(`${id} was charged ${charges} times and paid back ${refunds} times`);
  }
  for (const [id, job] of jobs) {
    if (job.credits > 0 && !paid.has(id)) wrong.push(`${id} was never charged`);
    const account = accounts.get(job.account);
    if (account === undefined) continue;
    account.jobs += 1;
    if (job.state === JobState.SUCCEEDED) account.earned += job.credits;
  }
  for (const [name, { granted, charged, refunded, balance, earned }] of accounts) {
    if (charged - refunded !== earned)
      wrong.push(
        `${name}: ${charged} charged less ${refunded} paid back is not ${earned}, the price of what succeeded`,
      );
    if (balance !== granted - earned) wrong.push(`${name} has ${balance} of ${granted}, and ${earned} were earned`);
  }
  return { accounts, wrong };
}

type Sums = { -readonly [Field in keyof Account]: Account[Field] };
const blank = (): Sums => ({ granted: 0, charged: 0, refunded: 0, balance: 0, earned: 0, jobs: 0 });

/** Every job as its last event has it. */
export async function lastStates(bus: Bus): Promise<ReadonlyMap<string, Job>> {
  const jobs = new Map<string, Job>();
  for await (const job of jobEvents(bus)) jobs.set(job.id, job);
  return jobs;
}

/** Every event of every job, those of one job in order, from each stream that jobs are divided over. */
export async function* jobEvents(bus: Bus): AsyncGenerator<Job> {
  for (const stream of await jobStreamsNow(bus.jsm)) {
    for await (const { data } of bus.history(jobChannelOf(stream), { jobId: '*' })) {
      if (data.job !== undefined) yield data.job;
    }
  }
}
