import { backoffMs } from './backoff.ts';
import { PermanentError, RetryAfterError } from './errors.ts';
import type { DeadLetterReason } from './events.ts';
import type { retryFields } from './options.ts';
import type { Outcome } from './outcome.ts';
import type { Resolved } from './schema.ts';

/** How one handler call ended. */
export type HandlerResult =
  | { readonly ok: true; readonly outcome: Outcome | void }
  | { readonly ok: false; readonly error: unknown };

/** What is to be done with the message. */
export type Verdict =
  | { readonly kind: 'ack' }
  | { readonly kind: 'skip'; readonly reason: string }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly reason: string; readonly error: unknown }
  | { readonly kind: 'deadLetter'; readonly why: DeadLetterReason; readonly reason: string; readonly error: unknown };

const ACK: Verdict = { kind: 'ack' };

/** The whole retry policy: a pure function of the result, the attempt and chance. */
export function judge(
  result: HandlerResult,
  attempt: number,
  policy: Resolved<typeof retryFields>,
  random: () => number,
): Verdict {
  if (result.ok) {
    const { outcome } = result;
    if (outcome === undefined || outcome === null || outcome.kind === 'ack') return ACK;
    if (outcome.kind === 'skip') return outcome;
    if (outcome.kind === 'deadLetter') {
      return { kind: 'deadLetter', why: 'rejected', reason: outcome.reason, error: undefined };
    }
    return again(outcome.reason ?? 'the handler asked for a retry', undefined, outcome.afterMs);
  }
  const { error } = result;
  const reason = messageOf(error);
  if (error instanceof PermanentError || !mayRetry(policy, error)) {
    return { kind: 'deadLetter', why: 'permanent', reason, error };
  }
  return again(reason, error, error instanceof RetryAfterError ? error.afterMs : undefined);

  function again(why: string, cause: unknown, afterMs: number | undefined): Verdict {
    if (attempt >= policy.maxAttempts) return { kind: 'deadLetter', why: 'exhausted', reason: why, error: cause };
    const delayMs =
      afterMs === undefined
        ? backoffMs(policy, attempt, random)
        : Math.max(1, Math.min(policy.maxMs, Math.round(afterMs)));
    return { kind: 'retry', delayMs, reason: why, error: cause };
  }
}

/** A policy function that throws must not leave the message without a verdict: a retry is the careful answer. */
function mayRetry({ retryable }: Resolved<typeof retryFields>, error: unknown): boolean {
  try {
    return retryable?.(error) !== false;
  } catch {
    return true;
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
