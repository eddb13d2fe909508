import { create } from '@bufbuild/protobuf';
import {
  channels,
  JobResultSchema,
  type EmailSent,
  type Failure,
  type ImageConverted,
  type JobResult,
} from '@sluice/contracts';
import { fail, succeed, type JobLog } from '@sluice/jobs';
import { decoder } from '@sluice/messaging';
import { definePipeline, type Outcome } from '@sluice/pipeline';

export interface SettleDeps {
  readonly jobs: JobLog;
}

/** What a worker reports of one run. */
interface Run {
  readonly jobId: string;
  readonly attempt: number;
  readonly replays: number;
  readonly result: JobResult | undefined;
  readonly failure: Failure | undefined;
}

const settings = {
  flow: { concurrency: 64 },
  timeout: { handlerMs: 20_000 },
  // A result that is not recorded leaves a job open for ever: it waits for the broker as long as it takes.
  retry: { maxAttempts: 1_000, baseMs: 200, maxMs: 10_000 },
};

/** Appends the end of image jobs. */
export const imageConverted = definePipeline<ImageConverted, SettleDeps>({
  name: 'image_converted',
  sources: [{ stream: 'USERS', consumer: 'image_converted' }],
  decode: decoder(channels.imageConverted),
  ...settings,
  handle: async ({ data: { jobId, attempt, replays, outcome } }, { deps }) => {
    const result =
      outcome.case === 'succeeded'
        ? create(JobResultSchema, { work: { case: 'image', value: outcome.value } })
        : undefined;
    const failure = outcome.case === 'failed' ? outcome.value : undefined;
    return settle(deps.jobs, { jobId, attempt, replays, result, failure });
  },
});

/** Appends the end of e-mail jobs. */
export const emailSent = definePipeline<EmailSent, SettleDeps>({
  name: 'email_sent',
  sources: [{ stream: 'USERS', consumer: 'email_sent' }],
  decode: decoder(channels.emailSent),
  ...settings,
  handle: async ({ data: { jobId, attempt, replays, outcome } }, { deps }) => {
    const result =
      outcome.case === 'succeeded'
        ? create(JobResultSchema, { work: { case: 'email', value: outcome.value } })
        : undefined;
    const failure = outcome.case === 'failed' ? outcome.value : undefined;
    return settle(deps.jobs, { jobId, attempt, replays, result, failure });
  },
});

/** One end per run: a late or repeated result finds the job ended, or on a newer run, and changes nothing. */
async function settle(jobs: JobLog, { jobId, result, failure, ...run }: Run): Promise<Outcome | void> {
  if (result === undefined && failure === undefined)
    return { kind: 'deadLetter', reason: 'a result without an outcome' };
  const record = await jobs.transition(jobId, (job) =>
    result === undefined ? fail(job, { failure: failure!, ...run }) : succeed(job, { result, ...run }),
  );
  if (record === undefined) return { kind: 'skip', reason: 'no such job' };
  return record.moved ? undefined : { kind: 'skip', reason: 'the job has ended or is on a newer run' };
}
