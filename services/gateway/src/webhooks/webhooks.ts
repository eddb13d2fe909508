import { channels, type Job, type JobFinished } from '@sluice/contracts';
import { decoder, scaledMs } from '@sluice/messaging';
import { refusalOf, type Targets } from '@sluice/outbound';
import { definePipeline, type Context, type Outcome, type Pipeline } from '@sluice/pipeline';
import { jobView } from '../jobs/job-view.ts';
import { announcementId } from '../jobs/orchestrator/step.ts';
import { callReceiver, type CallDeps } from './call.ts';
import { defaultCallLimits, type CallLimiter } from './call-limiter.ts';
import type { DeliveryEvent } from './delivery.ts';

export interface WebhookSettings {
  readonly targets: Targets;
  /** Webhooks in hand; most of them wait for their turn at their receiver. */
  readonly concurrency: number;
  /** For one call, from the connection to the status of the answer. */
  readonly timeoutMs: number;
  /** The shortest time between two calls. Each retry waits as long as the webhook is old, so the times double. */
  readonly firstRetryMs: number;
  /** The longest time between two calls, also when the receiver asks for more. */
  readonly maxRetryMs: number;
  /** How old a webhook is when a call that fails is its last. It has had a second one at any age. */
  readonly giveUpAfterMs: number;
}

export const defaultWebhooks: WebhookSettings = {
  targets: 'public',
  concurrency: 1_024,
  timeoutMs: 10_000,
  firstRetryMs: 5_000,
  maxRetryMs: scaledMs(3_600_000, 5_000),
  giveUpAfterMs: scaledMs(4 * 3_600_000, 20_000),
};

export interface WebhookDeps extends CallDeps {
  readonly limiter: CallLimiter;
  /** Tells what became of the webhook of a job. */
  readonly report: (job: Job, event: DeliveryEvent, detail: string) => void;
}

const DRAIN_MARGIN_MS = 5_000;

/**
 * Calls the URLs of jobs that ended, and again when the mail of one came back: a POST of the job as the API shows it, signed as Standard Webhooks has it. Any 2xx
 * is a success; redirects are not followed, because they would lead around the checks of the target.
 *
 * At least once: a receiver tells a repeat by its `webhook-id`.
 */
export function webhooksPipeline(settings: WebhookSettings): Pipeline<JobFinished, WebhookDeps> {
  return definePipeline<JobFinished, WebhookDeps>({
    name: 'webhooks',
    sources: [{ stream: channels.webhook.stream, consumer: 'webhooks' }],
    decode: decoder(channels.webhook),
    // Most of what is in hand waits for its turn: the limiter says how many calls are made.
    flow: { concurrency: settings.concurrency },
    timeout: { handlerMs: defaultCallLimits.maxWaitMs + settings.timeoutMs + DRAIN_MARGIN_MS },
    // Age ends a webhook, not a count.
    retry: { maxAttempts: 1_000_000, baseMs: settings.firstRetryMs, maxMs: settings.maxRetryMs },
    handle: async (message, context) => {
      const { job } = message.data;
      if (job === undefined) return { kind: 'deadLetter', reason: 'a webhook without a job' };
      const ageMs = Math.max(0, context.deps.now() - message.publishedAt.getTime());
      return deliver(job, { attempt: message.attempt, ageMs }, settings, context);
    },
  });
}

/** One delivery of the message that asks for the webhook. */
interface Attempt {
  readonly attempt: number;
  readonly ageMs: number;
}

async function deliver(
  job: Job,
  { attempt, ageMs }: Attempt,
  settings: WebhookSettings,
  context: Context<WebhookDeps>,
): Promise<Outcome | void> {
  const { deps, log, signal } = context;
  const { limiter, report } = deps;
  const url = new URL(job.callbackUrl);
  const deadLetter = (reason: string): Outcome => {
    report(job, 'webhook_failed', reason);
    return { kind: 'deadLetter', reason };
  };
  const refusal = refusalOf(url, settings.targets);
  if (refusal !== undefined) return deadLetter(`the callback URL ${refusal}`);

  const first = attempt === 1 || ageMs < settings.firstRetryMs;
  const release = await limiter.acquire({ account: job.account, host: url.host, retry: !first });
  if (release === undefined) {
    return { kind: 'snooze', reason: PUT_BACK, forMs: spread(putBackMs(ageMs, limiter.isAnswering(url.host))) };
  }
  const message = { id: announcementId(job, 'webhook'), account: job.account, body: JSON.stringify(jobView(job)) };
  const answer = await callReceiver(url, message, { deps, timeoutMs: settings.timeoutMs, signal }).catch(
    (error: unknown) => {
      release('failed');
      throw error;
    },
  );
  // Of the URL only the host is logged: paths and queries carry the tokens of the receiver.
  log.info({ job_id: job.id, host: url.host, attempt, status: answer.status }, 'webhook called');
  release(answer.kind === 'retry' ? 'failed' : 'reached');

  if (answer.kind === 'delivered') {
    report(job, 'webhook_delivered', answer.detail);
    return undefined;
  }
  if (answer.kind === 'gone') {
    report(job, 'webhook_failed', answer.detail);
    return { kind: 'skip', reason: answer.detail };
  }
  if (answer.kind === 'refused' || (attempt > 1 && ageMs > settings.giveUpAfterMs)) return deadLetter(answer.detail);
  report(job, 'webhook_retried', answer.detail);
  const { firstRetryMs, maxRetryMs } = settings;
  const afterMs =
    answer.afterMs === undefined
      ? spread(between(ageMs, firstRetryMs, maxRetryMs))
      : between(answer.afterMs, firstRetryMs, maxRetryMs);
  return { kind: 'retry', reason: answer.detail, afterMs };
}

/** Why a webhook went back to the queue uncalled; told to no client, because nothing happened. */
const PUT_BACK = 'too many webhooks of this account or host are being called';
const PUT_BACK_MIN_MS = { answering: 1_000, silent: 5_000 };
const PUT_BACK_MAX_MS = 60_000;

/**
 * How long a webhook that found no place waits for its next look. Behind a host that does not answer nothing moves: a
 * thousand webhooks that looked after a second were some three hundred messages a second that came to nothing.
 */
export const putBackMs = (ageMs: number, isAnswering: boolean): number =>
  between(ageMs / 2, PUT_BACK_MIN_MS[isAnswering ? 'answering' : 'silent'], PUT_BACK_MAX_MS);

const between = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));
/** So that what failed together does not come back together. */
const spread = (ms: number): number => ms * (0.75 + Math.random() / 2);
