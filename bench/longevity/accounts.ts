import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { channels, CreditEntryKind, jobChannelOf, type Job } from '@sluice/contracts';
import { isTerminal, stateName } from '@sluice/jobs';
import { jobStreamsNow, tail, type Bus } from '@sluice/messaging';

/** How every job ended, from all events of all jobs: readers that take up where they were when the broker comes back. */
export async function watchOutcomes(bus: Bus): Promise<ReadonlyMap<string, string>> {
  const outcomes = new Map<string, string>();
  for (const stream of await jobStreamsNow(bus.jsm)) {
    await tail(bus.nc, jobChannelOf(stream), {
      from: 1,
      onMessage: ({ data }) => {
        const job: Job | undefined = data.job;
        if (job !== undefined && isTerminal(job.state)) outcomes.set(job.id, stateName(job.state));
      },
    });
  }
  return outcomes;
}

const CREDITS = join(import.meta.dirname, '../../services/gateway/src/cli/credits.ts');

/** Gives the account of the bench its credits, as an operator does, and lists the jobs that were paid back. */
export async function watchLedger(
  bus: Bus,
  natsUrl: string,
  credits: number,
): Promise<{ readonly refunds: readonly string[] }> {
  const env = { ...process.env, SLUICE_ENV: 'dev', NATS_URL: natsUrl };
  await promisify(execFile)(process.execPath, [CREDITS, 'grant', 'local', String(credits)], { env });
  const refunds: string[] = [];
  const paidBack: ReadonlySet<CreditEntryKind> = new Set([CreditEntryKind.REFUND, CreditEntryKind.REVERSAL]);
  await tail(bus.nc, channels.credits, {
    from: 1,
    onMessage: ({ data }) => {
      if (paidBack.has(data.kind)) refunds.push(data.jobId);
    },
  });
  return { refunds };
}
