import { channels, jobKindName, jobKinds, type Job } from '@sluice/contracts';
import { isJobId, isTerminal, type JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import { currentProgress, progressOf, type Progress } from './job-view.ts';
import type { LastSaid } from './waiting-for.ts';
import { GatewayError } from '../errors.ts';

/**
 * A job of the account. That of another account is as absent as one that never was.
 *
 * @throws {GatewayError} `not_found`.
 */
export async function ownJob(jobs: JobLog, account: string, id: string, from: 'any' | 'leader' = 'any'): Promise<Job> {
  const found = isJobId(id) ? await jobs.read(id, from) : undefined;
  if (found === undefined || found.job.account !== account) {
    throw new GatewayError('not_found', 'There is no such job.');
  }
  return found.job;
}

/** The newest event of the worker of a job that has not ended; of the run that the job is on. */
export async function lastSaid(bus: Bus, job: Job): Promise<LastSaid | undefined> {
  if (isTerminal(job.state)) return undefined;
  const kind = jobKindName(job.kind);
  if (kind === undefined) return undefined;
  const said = await bus.last(channels.event, { appId: jobKinds[kind].service, messageId: job.id });
  return said === undefined || currentProgress(job, progressOf(said.data, said.storedAt.getTime())) === undefined
    ? undefined
    : said;
}

/** What the worker of a job that has not ended last said about it. */
export async function progressOfJob(bus: Bus, job: Job): Promise<Progress | undefined> {
  const said = await lastSaid(bus, job);
  return said === undefined ? undefined : progressOf(said.data, said.storedAt.getTime());
}
