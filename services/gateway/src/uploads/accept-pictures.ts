import { randomBytes } from 'node:crypto';
import type { Job } from '@sluice/contracts';
import type { JobLog } from '@sluice/jobs';
import type { ObjectStore } from '@sluice/storage';
import { GatewayError } from '../errors.ts';
import { acceptJob, type AcceptDeps, type Acceptance, type NewJob } from '../jobs/accept/accept-job.ts';
import { admit } from '../jobs/accept/idempotency.ts';
import { Intake, type IntakeLimits } from './take-source.ts';

export interface PictureDeps {
  readonly jobs: JobLog;
  readonly store: ObjectStore;
  readonly limits: IntakeLimits;
  readonly accept: AcceptDeps;
  readonly now: () => number;
}

/**
 * Takes in the pictures of a request and accepts its job. What was stored is removed when the request comes to nothing,
 * or repeats one whose job has pictures of its own.
 *
 * @param take reads the request: its pictures into the intake, the rest into the job.
 * @throws {GatewayError} what `take` and `acceptJob` throw.
 */
export async function acceptPictures(
  { jobs, store, limits, accept, now }: PictureDeps,
  { account, key }: { readonly account: string; readonly key: string | undefined },
  take: (intake: Intake) => Promise<NewJob>,
): Promise<Acceptance> {
  const admission = await admit(jobs, account, key, now(), accept.keyDays);
  // Two uploads for one job must not share objects: the loser's would replace what the winner's job converts.
  const nonce = randomBytes(6).toString('hex');
  const keyOfUpload = (index: number): string => `uploads/${admission.jobId}/${nonce}-${index}`;
  const intake = new Intake(store, limits, keyOfUpload, admission.existing !== undefined);
  const newJob = await take(intake).catch(async (error: unknown) => {
    await intake.discard();
    throw error;
  });
  const acceptance = await acceptJob(accept, newJob, admission).catch(async (error: unknown) => {
    // When the broker's answer is lost, the job may exist all the same: what is stored stays, the upload cleanup decides.
    if (error instanceof GatewayError) await intake.discard();
    throw error;
  });
  if (acceptance.repeated && !hasUpload(acceptance.job, keyOfUpload(0))) await intake.discard();
  return acceptance;
}

function hasUpload(job: Job, key: string): boolean {
  const work = job.request?.work;
  return work?.case === 'image' && work.value.sources.some(({ from }) => from.value === key);
}
