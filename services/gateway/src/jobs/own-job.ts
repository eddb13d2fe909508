import { fromBinary } from '@bufbuild/protobuf';
import { channels, jobKindName, jobKinds, JobSchema, type Job } from '@sluice/contracts';
import { isJobId, isTerminal, type JobLog } from '@sluice/jobs';
import type { Bus } from '@sluice/messaging';
import type { ReadModel } from '../history/read-model.ts';
import { currentProgress, progressOf, type Progress } from './job-view.ts';
import type { LastSaid } from './waiting-for.ts';
import { GatewayError } from '../errors.ts';

/** Where a job is looked for: in `JOBS`, and in the history once `JOBS` has forgotten it. */
export interface JobPlaces {
  readonly jobs: JobLog;
  readonly history: Pick<ReadModel, 'job'>;
}

/** A job as one of its places has it. */
export interface FoundJob {
  readonly job: Job;
  /** True when `JOBS` has forgotten it: what is left is how it ended, without its request and its events. */
  readonly forgotten: boolean;
}

/**
 * A job of the account. That of another account is as absent as one that never was.
 *
 * @throws {GatewayError} `not_found`.
 * @throws {ReadModelUnavailableError} when `JOBS` does not have it and the history cannot say.
 */
export async function ownJob(
  { jobs, history }: JobPlaces,
  account: string,
  id: string,
  from: 'any' | 'leader' = 'any',
): Promise<FoundJob> {
  const absent = (): GatewayError => new GatewayError('not_found', 'There is no such job.');
  if (!isJobId(id)) throw absent();
  const kept = await jobs.read(id, from);
  if (kept !== undefined) {
    if (kept.job.account !== account) throw absent();
    return { job: kept.job, forgotten: false };
  }
  const told = await history.job(account, id);
  if (told === undefined) throw absent();
  return { job: fromBinary(JobSchema, told), forgotten: true };
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
