import { channels, type Job, type JobFinished } from '@sluice/contracts';
import { decoder, stepId } from '@sluice/messaging';
import {
  definePipeline,
  RetryAfterError,
  type Context,
  type Outcome,
  type Pipeline,
  type RetryPolicy,
} from '@sluice/pipeline';
import { request, type Dispatcher } from 'undici';
import { jobView } from '../jobs/job-view.ts';
import type { WebhookSecrets } from './secrets.ts';
import { signedHeaders } from './signature.ts';
import { refusalOf, TargetRefused, type Targets } from './target.ts';

export interface WebhookSettings {
  readonly targets: Targets;
  /** For one call, from the connection to the status of the answer. */
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

export const defaultWebhooks: WebhookSettings = {
  targets: 'public',
  timeoutMs: 10_000,
  // Five seconds, then ever longer up to an hour: about four hours in all before it is given up.
  retry: { maxAttempts: 13, baseMs: 5_000, maxMs: 3_600_000, maxAfterMs: 3_600_000, jitter: 'equal' },
};

export interface WebhookDeps {
  readonly agent: Dispatcher;
  readonly secrets: WebhookSecrets;
  readonly now: () => number;
}

// Whatever a receiver says besides its status is dropped, and one that says more than this is hung up on.
const ANSWER_BYTES = 16 * 1024;
const DRAIN_MARGIN_MS = 5_000;

/**
 * Calls the URLs of jobs that ended: a POST of the job as the API shows it, signed as Standard Webhooks has it. Any 2xx
 * is a success; redirects are not followed, because they would lead around the checks of the target.
 *
 * At least once: a receiver tells a repeat by its `webhook-id`.
 */
export function webhooksPipeline(settings: WebhookSettings): Pipeline<JobFinished, WebhookDeps> {
  return definePipeline<JobFinished, WebhookDeps>({
    name: 'webhooks',
    sources: [{ stream: channels.webhook.stream, consumer: 'webhooks' }],
    decode: decoder(channels.webhook),
    flow: { concurrency: 64 },
    timeout: { handlerMs: settings.timeoutMs + DRAIN_MARGIN_MS },
    retry: settings.retry,
    handle: async ({ data: { job }, attempt }, context) =>
      job === undefined
        ? { kind: 'deadLetter', reason: 'a webhook without a job' }
        : call(job, attempt, settings, context),
  });
}

async function call(
  job: Job,
  attempt: number,
  { targets, timeoutMs }: WebhookSettings,
  { deps, log, signal }: Context<WebhookDeps>,
): Promise<Outcome | void> {
  const url = new URL(job.callbackUrl);
  const refusal = refusalOf(url, targets);
  if (refusal !== undefined) return { kind: 'deadLetter', reason: `the callback URL ${refusal}` };
  const body = JSON.stringify(jobView(job));
  const secrets = await deps.secrets.of(job.account);
  const headers = signedHeaders(
    secrets.map(({ secret }) => secret),
    { id: stepId(job.id, 'webhook', job.replays), timestampSeconds: Math.floor(deps.now() / 1000), body },
  );
  const until = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  // Of the URL only the host is logged: paths and queries carry the tokens of whoever receives.
  const fields = { job_id: job.id, host: url.host, attempt };
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
    if (error instanceof TargetRefused) return { kind: 'deadLetter', reason: error.message };
    throw new WebhookFailed(`the receiver could not be reached: ${faultOf(error)}`, { cause: error });
  }
  await answer.body.dump({ limit: ANSWER_BYTES, signal: until }).catch(() => undefined);
  const { statusCode } = answer;
  log.info({ ...fields, status: statusCode }, 'webhook called');
  if (statusCode >= 200 && statusCode < 300) return undefined;
  if (statusCode === 410) return { kind: 'skip', reason: 'the receiver is gone for good' };
  const seconds = Number(answer.headers['retry-after']);
  if (Number.isFinite(seconds) && seconds > 0) {
    throw new RetryAfterError(`the receiver answered ${statusCode}`, seconds * 1000);
  }
  throw new WebhookFailed(`the receiver answered ${statusCode}`);
}

/** A call came to nothing; another one may not. */
export class WebhookFailed extends Error {
  override readonly name = 'WebhookFailed';
  readonly code = 'webhook_failed';
}

const faultOf = (error: unknown): string => {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : String(name);
};
