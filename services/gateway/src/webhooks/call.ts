import { TargetRefused } from '@sluice/outbound';
import { currentTraceparent } from '@sluice/telemetry';
import { request, type Dispatcher } from 'undici';
import type { WebhookSecrets } from './secrets.ts';
import { signedHeaders } from './signature.ts';

export interface CallDeps {
  readonly agent: Dispatcher;
  readonly secrets: WebhookSecrets;
  readonly now: () => number;
}

/** What a receiver gets. */
export interface WebhookMessage {
  /** The same for every attempt. */
  readonly id: string;
  /** Whose secrets sign it. */
  readonly account: string;
  readonly body: string;
}

/** What a call came to. */
export interface CallResult {
  readonly kind: 'delivered' | 'gone' | 'refused' | 'retry';
  readonly detail: string;
  /** Of the answer, if one came. */
  readonly status?: number;
  /** How long the receiver asked to wait. */
  readonly afterMs?: number | undefined;
}

// What a receiver says besides its status is dropped, and one that says more than this is hung up on.
const ANSWER_BYTES = 16 * 1024;

/** One signed POST. Rejects only with the reason of `signal`. */
export async function callReceiver(
  url: URL,
  { id, account, body }: WebhookMessage,
  { deps, timeoutMs, signal }: { readonly deps: CallDeps; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<CallResult> {
  const secrets = await deps.secrets.of(account);
  const headers = signedHeaders(
    secrets.map(({ secret }) => secret),
    { id, timestampSeconds: Math.floor(deps.now() / 1000), body },
  );
  const traceparent = currentTraceparent();
  const until = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  let answer: Dispatcher.ResponseData;
  try {
    answer = await request(url, {
      method: 'POST',
      dispatcher: deps.agent,
      signal: until,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      headers: {
        ...headers,
        ...(traceparent === undefined ? {} : { traceparent }),
        'content-type': 'application/json',
        'user-agent': 'sluice-webhooks/1',
      },
      body,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof TargetRefused) return { kind: 'refused', detail: error.message };
    return { kind: 'retry', detail: `the receiver could not be reached: ${faultOf(error)}`, afterMs: undefined };
  }
  await answer.body.dump({ limit: ANSWER_BYTES, signal: until }).catch(() => undefined);
  const { statusCode: status } = answer;
  const detail = `the receiver answered ${status}`;
  if (status >= 200 && status < 300) return { kind: 'delivered', detail, status };
  if (status === 410) return { kind: 'gone', detail, status };
  return { kind: 'retry', detail, status, afterMs: retryAfterMs(answer.headers['retry-after'], deps.now()) };
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
