import { channels, type Job, type JobFinished } from '@sluice/contracts';
import { decoder, scaledMs } from '@sluice/messaging';
import { refusalOf, TargetRefused, type Targets } from '@sluice/outbound';
import { definePipeline, type Context, type Outcome, type Pipeline } from '@sluice/pipeline';
import { request, type Dispatcher } from 'undici';
import { jobView } from '../jobs/job-view.ts';
import { announcementId } from '../jobs/orchestrator/step.ts';
import { defaultCallLimits, type CallLimiter } from './call-limiter.ts';
import type { DeliveryEvent } from './delivery.ts';
import type { WebhookSecrets } from './secrets.ts';
import { signedHeaders } from './signature.ts';

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

export interface WebhookDeps {
  readonly agent: Dispatcher;
  readonly secrets: WebhookSecrets;
  readonly limiter: CallLimiter;
  readonly now: () => number;
  /** Tells what became of the webhook of a job. */
  readonly report: (job: Job, event: DeliveryEvent, detail: string) => void;
}

// What a receiver says besides its status is dropped, and one that says more than this is hung up on.
const ANSWER_BYTES = 16 * 1024;
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
  const { limiter, report } = context.deps;
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
    return { kind: 'snooze', reason: PUT_BACK, forMs: spread(between(ageMs / 2, PUT_BACK_MIN_MS, PUT_BACK_MAX_MS)) };
  }
  const answer = await call(job, url, attempt, settings, context).catch((error: unknown) => {
    release('failed');
    throw error;
  });
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
const PUT_BACK_MIN_MS = 1_000;
const PUT_BACK_MAX_MS = 60_000;

const between = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));
/** So that what failed together does not come back together. */
const spread = (ms: number): number => ms * (0.75 + Math.random() / 2);

/** What a call came to. */
interface CallResult {
  readonly kind: 'delivered' | 'gone' | 'refused' | 'retry';
  readonly detail: string;
  /** How long the receiver asked to wait. */
  readonly afterMs?: number | undefined;
}

async function call(
  job: Job,
  url: URL,
  attempt: number,
  { timeoutMs }: WebhookSettings,
  { deps, log, signal }: Context<WebhookDeps>,
): Promise<CallResult> {
  const body = JSON.stringify(jobView(job));
  const secrets = await deps.secrets.of(job.account);
  const headers = signedHeaders(
    secrets.map(({ secret }) => secret),
    { id: announcementId(job, 'webhook'), timestampSeconds: Math.floor(deps.now() / 1000), body },
  );
  const until = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  let answer: Dispatcher.ResponseData;
  try {
    answer = await request(url, {
      method: 'POST',
      dispatcher: deps.agent,
      signal: until,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      headers: { ...headers, 'content-type': 'application/json', 'user-agent': 'sluice-webhooks/1' },
      body,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof TargetRefused) return { kind: 'refused', detail: error.message };
    return { kind: 'retry', detail: `the receiver could not be reached: ${faultOf(error)}`, afterMs: undefined };
  }
  await answer.body.dump({ limit: ANSWER_BYTES, signal: until }).catch(() => undefined);
  const { statusCode } = answer;
  // Of the URL only the host is logged: paths and queries carry the tokens of the receiver.
  log.info({ job_id: job.id, host: url.host, attempt, status: statusCode }, 'webhook called');
  const detail = `the receiver answered ${statusCode}`;
  if (statusCode >= 200 && statusCode < 300) return { kind: 'delivered', detail };
  if (statusCode === 410) return { kind: 'gone', detail };
  return { kind: 'retry', detail, afterMs: retryAfterMs(answer.headers['retry-after'], deps.now()) };
}

/** A `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). Undefined when it says neither, or a time that is over. */
export function retryAfterMs(header: string | readonly string[] | undefined, nowMs: number): number | undefined {
  const text = typeof header === 'string' ? header.trim() : '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return ms > 0 ? ms : undefined;
}

const faultOf = (error: unknown): string => {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : String(name);
};
