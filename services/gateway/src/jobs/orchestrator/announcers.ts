import { isJobStream, type Job, type JobStream } from '@sluice/contracts';
import { isTerminal, JOB_HEADER, type JobLog } from '@sluice/jobs';
import { jobIdOf, type Bus } from '@sluice/messaging';
import { definePipeline, type Message, type Outcome, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';
import { callbackOf, webhookOf } from './announcements.ts';
import type { WebhookDeps } from '../../webhooks/webhooks.ts';
import { isRetryable } from './retryable.ts';
import { sourcesOf } from './sources.ts';
import type { Step } from './step.ts';
import { isSubjectFull, StreamUnavailable, unavailable } from './stream-unavailable.ts';

export interface AnnounceDeps {
  readonly bus: Bus;
  readonly jobs: JobLog;
  /** Tells what became of the webhook of a job. */
  readonly reportWebhook: WebhookDeps['report'];
}

/** What an event of a job tells others: not that it was erased (`erased`), which is no end of its own. */
const FINAL: readonly string[] = ['succeeded', 'failed', 'cancelled'];

/**
 * Publishes what tells others of a job, each kind from a consumer of its own on `JOBS`. When the stream it
 * publishes to is full, its breaker stops the pulling, so few messages wait for a retry and the rest stays in `JOBS`,
 * which keeps it for days. Dispatch and the other kind of announcement go on.
 */
function announcements(
  consumer: string,
  tuning: PipelineTuning,
  streams: readonly JobStream[],
  stream: string,
  concerns: (state: string, header: (name: string) => string) => boolean,
  stepOf: (job: Job) => Step | undefined,
): Pipeline<undefined, AnnounceDeps> {
  const announce = async (message: Message<undefined>, deps: AnnounceDeps): Promise<Outcome | void> => {
    const { bus, jobs } = deps;
    const header = (name: string): string => message.headers.get(name)?.[0] ?? '';
    const state = header(JOB_HEADER.state);
    // Events of versions without these headers are read.
    if (state !== '' && !concerns(state, header)) return { kind: 'skip', reason: 'nothing to announce' };
    const { stream: from, sequence } = message;
    const found = isJobStream(from) ? await jobs.at(jobIdOf(message.id), { stream: from, sequence }) : undefined;
    const news = found !== undefined && (isTerminal(found.job.state) || found.cause === 'deferral');
    const step = news ? stepOf(found.job) : undefined;
    if (step === undefined) return { kind: 'skip', reason: 'nothing to announce' };
    try {
      await step.publish(bus);
    } catch (error) {
      if (!isSubjectFull(error)) throw unavailable(stream, error) ?? error;
      // The account has as many webhooks waiting as it may. Waiting for room would hold up those of the others.
      deps.reportWebhook(found!.job, 'webhook_dropped', 'too many webhooks of this account wait for their receivers');
      return { kind: 'skip', reason: 'the account has as many webhooks waiting as it may' };
    }
    return undefined;
  };
  const { retry, ...options } = engineOptions(tuning);
  return definePipeline<undefined, AnnounceDeps>({
    name: consumer,
    sources: sourcesOf(streams, { consumer, body: 'none' }),
    // The consumer hands out headers alone.
    decode: () => undefined,
    ...options,
    retry: { ...retry, retryable: isRetryable },
    breaker: { minSamples: 8, coolDownMs: 2_000, counts: (error) => error instanceof StreamUnavailable },
    handle: (message, { deps }) => announce(message, deps),
  });
}

/** The callback to the client's side, for every job that ended. */
export const clientCallbacks = (
  tuning: PipelineTuning,
  streams: readonly JobStream[],
): Pipeline<undefined, AnnounceDeps> =>
  announcements('client_callbacks', tuning, streams, 'CLIENTS', (state) => FINAL.includes(state), callbackOf);

/** The call of a job's own URL, for jobs that have one: at the end, and when a mail is deferred. */
export const webhookCalls = (
  tuning: PipelineTuning,
  streams: readonly JobStream[],
): Pipeline<undefined, AnnounceDeps> =>
  announcements(
    'webhook_calls',
    tuning,
    streams,
    'WEBHOOKS',
    (state, header) => [...FINAL, 'deferred'].includes(state) && header(JOB_HEADER.webhook) !== '',
    webhookOf,
  );
