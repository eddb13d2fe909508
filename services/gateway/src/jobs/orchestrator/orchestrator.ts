import { timestampMs } from '@bufbuild/protobuf/wkt';
import { channels, JobKind, JobState, type Job, type JobEvent, type JobStream } from '@sluice/contracts';
import { announceCancellation, derivedJobId, type JobLog } from '@sluice/jobs';
import { decoder, type Bus, type Lifecycle } from '@sluice/messaging';
import { definePipeline, type Context, type Outcome, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';
import type { ObjectStore } from '@sluice/storage';
import { acceptSystemJob } from '../accept/accept-job.ts';
import { newEmailJob } from '../accept/email-request.ts';
import type { Credits } from '../../credits/credits.ts';
import { postponed, published } from '../reconciler/placement.ts';
import { isRetryable } from './retryable.ts';
import { sourcesOf } from './sources.ts';
import { unavailable } from './stream-unavailable.ts';
import { uploadsOf, workOf } from '../kinds/index.ts';

export interface OrchestratorDeps {
  readonly bus: Bus;
  readonly jobs: JobLog;
  readonly store: ObjectStore;
  readonly now: () => number;
  readonly credits: Credits;
  /** Tells that a job's work was published. */
  readonly report: Lifecycle;
}

/**
 * Reacts to every transition of every job: the work of one that was accepted, the credits and the clean-up of one that
 * ended. The append to `JOBS` is the outbox, so nothing else has to agree with it; every step's message id derives from
 * the job, so reacting twice changes nothing. Callbacks and webhooks have consumers of their own: see `announcers.ts`.
 */
export const orchestrator = (
  tuning: PipelineTuning,
  streams: readonly JobStream[],
): Pipeline<JobEvent, OrchestratorDeps> => {
  const { retry, ...options } = engineOptions(tuning);
  return definePipeline<JobEvent, OrchestratorDeps>({
    name: 'orchestrator',
    sources: sourcesOf(streams, { consumer: 'orchestrator' }),
    decode: decoder(channels.job),
    ...options,
    // A failure that a repeat cannot change ends at once.
    retry: { ...retry, retryable: isRetryable },
    handle: react,
  });
};

async function react(
  message: { readonly data: JobEvent; readonly attempt: number },
  context: Context<OrchestratorDeps>,
): Promise<Outcome | void> {
  const event = message.data;
  const { job } = event;
  if (job === undefined) return { kind: 'deadLetter', reason: 'a job event without a job' };
  switch (job.state) {
    case JobState.ACCEPTED:
    case JobState.QUEUED:
      if (event.cause === 'cancel-request') {
        announceCancellation(context.deps.bus.port, job.id);
        return undefined;
      }
      if (event.cause === 'reconcile' || event.cause === 'refresh')
        return { kind: 'skip', reason: 'the reconciler says where the work is' };
      if (event.cause === 'deferral') return { kind: 'skip', reason: 'its worker tries it again' };
      return dispatch(job, message.attempt, context);
    case JobState.SUCCEEDED:
    case JobState.FAILED:
    case JobState.CANCELLED:
      if (event.cause === 'erase') return { kind: 'skip', reason: 'the job had ended before it was erased' };
      if (event.cause === 'report') return { kind: 'skip', reason: 'the job had ended before' };
      return conclude(job, event.cause, context);
    default:
      return { kind: 'skip', reason: 'nothing to do in this state' };
  }
}

/**
 * A stream without a leader answers as one that does not exist. An election is over within these attempts; the reconciler
 * would publish the work only after the time in which a stream remembers message ids, minutes later. The wait between two
 * is always the same: by chance the delays of the retry policy were over before an election of 5 s.
 */
const ELECTION_ATTEMPTS = 10;
const ELECTION_RETRY_MS = 1_000;

async function dispatch(job: Job, attempt: number, { deps }: Context<OrchestratorDeps>): Promise<Outcome | void> {
  const request = await deps.jobs.request(job);
  if (request === undefined) return { kind: 'deadLetter', reason: 'the request of the job is not kept any more' };
  const step = workOf({ ...job, request });
  if (step === undefined) return { kind: 'deadLetter', reason: 'a job of a kind that is not known' };
  try {
    deps.report(job.id, published(step, await step.publish(deps.bus), job.traceId));
    return undefined;
  } catch (error) {
    const reason = unavailable(step.channel.stream, error);
    if (reason === undefined) throw error;
    if (reason.reason === 'missing' && attempt < ELECTION_ATTEMPTS)
      return { kind: 'retry', afterMs: ELECTION_RETRY_MS, reason: reason.message };
    // Waiting here would hold a slot of the consumer for each such job, until no job of any kind is dispatched.
    deps.report(job.id, postponed(reason.message, job.traceId));
    return { kind: 'skip', reason: `${reason.message}; the reconciler publishes the work once there is room` };
  }
}

async function conclude(job: Job, cause: string, { deps, log }: Context<OrchestratorDeps>): Promise<void> {
  await deps.credits.complete(job);
  if (job.notify !== '' && job.state === JobState.SUCCEEDED && job.kind === JobKind.IMAGE) await notify(job, deps);
  // A job that was given up can be sent on its way again by an operator, who needs its pictures.
  if (job.state === JobState.FAILED && cause === 'dead-letter') return;
  for (const key of uploadsOf(job)) {
    await deps.store.delete(key).catch((error: unknown) => {
      // The upload cleanup finds it. Holding up the callbacks of jobs that ended would be worse.
      log.warn({ err: error, job_id: job.id }, 'an upload could not be deleted');
    });
  }
}

/** The mail that says a PDF is ready: a job of its own. Its id derives from the image job, so it is made once. */
async function notify(job: Job, deps: OrchestratorDeps): Promise<void> {
  const pdf = job.result?.work.case === 'image' ? job.result.work.value : undefined;
  if (pdf === undefined) return;
  const newJob = newEmailJob(
    {
      to: job.notify,
      template: 'image-ready',
      variables: { jobId: job.id, pages: pdf.pages, ...(job.notifyAttach ? { attach: true } : {}) },
      priority: job.priority,
      attachmentKey: pdf.key,
    },
    { account: job.account, trace: { traceId: job.traceId, traceparent: job.traceparent } },
  );
  // The time of the image job: a repeat on another day looks for the mail where this one puts it.
  const acceptedMs = job.createdAt === undefined ? 0 : timestampMs(job.createdAt);
  await acceptSystemJob(deps.jobs, newJob, derivedJobId('notify', job.id), acceptedMs);
}
