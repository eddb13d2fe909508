import { channels, jobKindName, jobKinds, type Job } from '@sluice/contracts';
import { isJobId, isTerminal, type JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import { progressOf, type Progress } from './job-view.ts';
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

/** What the worker of a job that has not ended last said about it. */
export async function progressOfJob(bus: Bus, job: Job): Promise<Progress | undefined> {
  if (isTerminal(job.state)) return undefined;
  const kind = jobKindName(job.kind);
  if (kind === undefined) return undefined;
  const said = await bus.last(channels.event, { appId: jobKinds[kind].service, messageId: job.id });
  return said === undefined ? undefined : progressOf(said.data, said.storedAt.getTime());
}
