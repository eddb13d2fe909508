import { create } from '@bufbuild/protobuf';
import { channels, JobFinishedSchema, jobKindName, jobKinds, type Job } from '@sluice/contracts';
import { announcementId, step, type Step } from './step.ts';

/** The callback that tells the client's side of the end of a job; undefined for a kind that this version does not know. */
export function callbackOf(job: Job): Step | undefined {
  const kind = jobKindName(job.kind);
  if (kind === undefined) return undefined;
  const id = announcementId(job, 'callback');
  return step(jobKinds[kind].callback, create(JobFinishedSchema, { job }), id);
}

/** The call to the URL that the job's owner left, if any. */
export function webhookOf(job: Job): Step | undefined {
  if (job.callbackUrl === '') return undefined;
  const id = announcementId(job, 'webhook');
  return step(channels.webhook, create(JobFinishedSchema, { job }), id, { account: job.account });
}
