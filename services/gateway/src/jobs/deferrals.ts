import { create } from '@bufbuild/protobuf';
import { channels, DeferralSchema, type EmailDeferred } from '@sluice/contracts';
import { defer } from '@sluice/jobs';
import { decoder } from '@sluice/messaging';
import { definePipeline, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';
import type { CompletionDeps } from './results.ts';

/** Notes on jobs that their mail was deferred: the first time of each run, however often the server says so. */
export const deferrals = (tuning: PipelineTuning): Pipeline<EmailDeferred, CompletionDeps> =>
  definePipeline<EmailDeferred, CompletionDeps>({
    name: 'email_deferred',
    sources: [{ stream: channels.emailDeferred.stream, consumer: 'email_deferred' }],
    decode: decoder(channels.emailDeferred),
    ...engineOptions(tuning),
    handle: async ({ data: { jobId, attempt, replays, detail, at } }, { deps }) => {
      const deferral = create(DeferralSchema, { detail, ...(at === undefined ? {} : { at }) });
      const record = await deps.jobs.transition(jobId, (job) => defer(job, { deferral, attempt, replays }));
      return record?.moved === true ? undefined : { kind: 'skip', reason: 'nothing new about an open job' };
    },
  });
