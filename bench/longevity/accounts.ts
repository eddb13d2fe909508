import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { channels, JobState, jobChannelOf, type Job } from '@sluice/contracts';
import { isTerminal, stateName } from '@sluice/jobs';
import { jobStreamsNow, tail, type Bus } from '@sluice/messaging';

/** How jobs ended. */
export interface Outcomes {
  /** The last state of each job that has ended. */
  readonly states: ReadonlyMap<string, string>;
  /** What those that succeeded cost, by their own word. */
  readonly prices: ReadonlyMap<string, number>;
  /** Mails that say that they may have been sent before. */
  readonly ambiguous: ReadonlySet<string>;
}

/** How every job ended, from all events of all jobs: readers that take up where they were when the broker comes back. */
export async function watchOutcomes(bus: Bus): Promise<Outcomes> {
  const states = new Map<string, string>();
  const prices = new Map<string, number>();
  const ambiguous = new Set<string>();
  for (const stream of await jobStreamsNow(bus.jsm)) {
    await tail(bus.nc, jobChannelOf(stream), {
      from: 1,
      onMessage: ({ data }) => {
        const job: Job | undefined = data.job;
        if (job === undefined || !isTerminal(job.state)) return;
        states.set(job.id, stateName(job.state));
        if (job.state === JobState.SUCCEEDED) prices.set(job.id, job.credits);
        const sent = job.result?.work;
        if (sent?.case === 'email' && sent.value.ambiguous) ambiguous.add(job.id);
      },
    });
  }
  return { states, prices, ambiguous };
}

const CLI = join(import.meta.dirname, '../../services/gateway/src/cli');

/** Runs a command of an operator, and returns what it prints. */
async function operate(natsUrl: string, script: string, ...options: readonly string[]): Promise<string> {
  const env = { ...process.env, SLUICE_ENV: 'dev', NATS_URL: natsUrl };
  return (await promisify(execFile)(process.execPath, [join(CLI, script), ...options], { env })).stdout;
}

/** Makes an API key for each account. */
export async function makeKeys(natsUrl: string, accounts: readonly string[]): Promise<readonly string[]> {
  const keys: string[] = [];
  for (const account of accounts) {
    const said = await operate(natsUrl, 'keys.ts', 'create', account, 'jobs:write', 'jobs:read', 'events:write');
    keys.push(said.split('\n', 1)[0] ?? '');
  }
  return keys;
}

/** Gives each account its credits, and sums up what was entered for each job: what it paid is below zero. */
export async function watchLedger(
  bus: Bus,
  natsUrl: string,
  accounts: readonly string[],
  credits: number,
): Promise<ReadonlyMap<string, number>> {
  for (const account of accounts) await operate(natsUrl, 'credits.ts', 'grant', account, String(credits));
  const sums = new Map<string, number>();
  await tail(bus.nc, channels.credits, {
    from: 1,
    onMessage: ({ data: { jobId, amount } }) => {
      if (jobId !== '') sums.set(jobId, (sums.get(jobId) ?? 0) + Number(amount));
    },
  });
  return sums;
}
