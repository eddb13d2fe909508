import { create } from '@bufbuild/protobuf';
import { jobKindEntries, JobResultSchema, type Failure, type JobResult } from '@sluice/contracts';
import { cancel, fail, succeed, type JobLog } from '@sluice/jobs';
import { decoder } from '@sluice/messaging';
import { definePipeline, type Outcome, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';

export interface CompletionDeps {
  readonly jobs: JobLog;
}

/** What a worker reports of one run. */
interface Run {
  readonly jobId: string;
  readonly attempt: number;
  readonly replays: number;
  readonly result: JobResult | undefined;
  readonly failure: Failure | undefined;
  /** Cancelling was requested, and nothing was done. */
  readonly cancelled: boolean;
}

/** The result message of any kind: the kinds differ in what `succeeded` holds. */
interface ResultMessage {
  readonly jobId: string;
  readonly attempt: number;
  readonly replays: number;
  readonly outcome:
    | { readonly case: 'succeeded'; readonly value: unknown }
    | { readonly case: 'failed'; readonly value: Failure }
    | { readonly case: 'cancelled'; readonly value: unknown }
    | { readonly case: undefined; readonly value?: undefined };
}

/** Appends the end of jobs, one pipeline per kind. */
export const resultPipelines = (
  tuningOf: (consumer: string) => PipelineTuning,
): readonly Pipeline<ResultMessage, CompletionDeps>[] =>
  jobKindEntries.map(([name, { result: from }]) =>
    definePipeline<ResultMessage, CompletionDeps>({
      name: from.consumer,
      sources: [{ stream: from.channel.stream, consumer: from.consumer }],
      decode: decoder(from.channel) as unknown as (bytes: Uint8Array) => ResultMessage,
      ...engineOptions(tuningOf(from.consumer)),
      handle: async ({ data: { jobId, attempt, replays, outcome } }, { deps }) => {
        const work = { case: name, value: outcome.value } as JobResult['work'];
        const result = outcome.case === 'succeeded' ? create(JobResultSchema, { work }) : undefined;
        const failure = outcome.case === 'failed' ? outcome.value : undefined;
        const cancelled = outcome.case === 'cancelled';
        return complete(deps.jobs, { jobId, attempt, replays, result, failure, cancelled });
      },
    }),
  );

/** One end per run: a late or repeated result finds the job ended, or on a newer run, and changes nothing. */
async function complete(jobs: JobLog, { jobId, result, failure, cancelled, ...run }: Run): Promise<Outcome | void> {
  if (result === undefined && failure === undefined && !cancelled)
    return { kind: 'deadLetter', reason: 'a result without an outcome' };
  const record = await jobs.transition(jobId, (job) => {
    if (result !== undefined) return succeed(job, { result, ...run });
    return failure === undefined ? cancel(job, run) : fail(job, { failure, ...run });
  });
  if (record === undefined) return { kind: 'skip', reason: 'no such job' };
  return record.moved ? undefined : { kind: 'skip', reason: 'the job has ended or is on a newer run' };
}
