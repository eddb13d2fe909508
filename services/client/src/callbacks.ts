import { channels, type JobFinished } from '@sluice/contracts';
import { stateName } from '@sluice/jobs';
import { decoder } from '@sluice/messaging';
import { definePipeline, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';

/** One callback as this client keeps it. Nothing personal: who the job was for stays with the gateway. */
export interface ReceivedCallback {
  readonly jobId: string;
  readonly state: string;
  readonly errorCode: string | undefined;
  readonly receivedAt: Date;
  readonly subject: string;
}

/** The newest callbacks, for a person to look at. A job called back twice is listed once. */
export interface CallbackLog {
  add(callback: ReceivedCallback): void;
  /** Newest first. */
  list(): readonly ReceivedCallback[];
}

/** Keeps the newest `limit` callbacks. */
export function createCallbackLog(limit = 200): CallbackLog {
  const byJob = new Map<string, ReceivedCallback>();
  return {
    add(callback) {
      byJob.delete(callback.jobId);
      byJob.set(callback.jobId, callback);
      const oldest = byJob.keys().next();
      if (byJob.size > limit && oldest.done !== true) byJob.delete(oldest.value);
    },
    list: () => [...byJob.values()].reverse(),
  };
}

export interface CallbackDeps {
  readonly callbacks: CallbackLog;
  readonly now: () => Date;
}

/**
 * Receives the callbacks of finished jobs. At least once: a repeat carries the same job, so taking it twice changes
 * nothing.
 */
export const callbacksPipeline = (tuning: PipelineTuning): Pipeline<JobFinished, CallbackDeps> =>
  definePipeline<JobFinished, CallbackDeps>({
    name: 'callbacks',
    sources: [{ stream: channels.clientImageConverted.stream, consumer: 'callbacks' }],
    decode: decoder(channels.clientImageConverted),
    ack: { waitMs: 30_000 },
    ...engineOptions(tuning),
    handle: ({ data: { job }, subject }, { deps, log }) => {
      if (job === undefined) return Promise.resolve({ kind: 'deadLetter', reason: 'a callback without a job' });
      const errorCode = job.error?.code;
      deps.callbacks.add({
        jobId: job.id,
        state: stateName(job.state),
        errorCode,
        receivedAt: deps.now(),
        subject,
      });
      log.info({ job_id: job.id, subject, state: stateName(job.state), error: errorCode }, 'callback received');
      return Promise.resolve();
    },
  });
