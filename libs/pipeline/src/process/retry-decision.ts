import { backoffMs } from './backoff.ts';
import { errorMessage, isInstance } from './describe-error.ts';
import { PermanentError, RetryAfterError } from '../errors.ts';
import type { DeadLetterReason } from '../events.ts';
import type { retryFields } from '../config/options.ts';
import type { Outcome } from './outcome.ts';
import type { Resolved } from '../config/schema.ts';

/** How one handler call ended. */
export type HandlerResult =
  | { readonly ok: true; readonly outcome: Outcome | undefined }
  | { readonly ok: false; readonly error: unknown };

/** What is to be done with the message. */
export type Decision =
  | { readonly kind: 'ack' }
  | { readonly kind: 'skip'; readonly reason: string }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly reason: string; readonly error: unknown }
  | { readonly kind: 'deadLetter'; readonly why: DeadLetterReason; readonly reason: string; readonly error: unknown };

const ACK: Decision = { kind: 'ack' };

/** The whole retry policy: a pure function of the result, the attempt and chance. */
export function decide(
  result: HandlerResult,
  attempt: number,
  policy: Resolved<typeof retryFields>,
  random: () => number,
): Decision {
  if (result.ok) {
    const { outcome } = result;
    if (outcome === undefined || outcome.kind === 'ack') return ACK;
    if (outcome.kind === 'skip') return outcome;
    if (outcome.kind === 'deadLetter') {
      return { kind: 'deadLetter', why: 'rejected', reason: outcome.reason, error: undefined };
    }
    return again(outcome.reason ?? 'the handler asked for a retry', undefined, outcome.afterMs);
  }
  const { error } = result;
  const reason = errorMessage(error);
  if (isInstance(error, PermanentError) || !mayRetry(policy, error)) {
    return { kind: 'deadLetter', why: 'permanent', reason, error };
  }
  return again(reason, error, isInstance(error, RetryAfterError) ? error.afterMs : undefined);

  function again(why: string, cause: unknown, afterMs: number | undefined): Decision {
    if (attempt >= policy.maxAttempts) return { kind: 'deadLetter', why: 'exhausted', reason: why, error: cause };
    // A delay that is no number or in the past (a Retry-After read with `Number`) says nothing: with 0 in its place all
    // attempts would be used up within milliseconds.
    const asked = typeof afterMs === 'number' && afterMs > 0 ? Math.max(1, Math.round(afterMs)) : undefined;
    const delayMs = asked === undefined ? backoffMs(policy, attempt, random) : Math.min(policy.maxAfterMs, asked);
    return { kind: 'retry', delayMs, reason: why, error: cause };
  }
}

/** A policy function that throws must not leave the message without a decision: a retry is the careful answer. */
function mayRetry({ retryable }: Resolved<typeof retryFields>, error: unknown): boolean {
  try {
    return retryable?.(error) !== false;
  } catch {
    return true;
  }
}
