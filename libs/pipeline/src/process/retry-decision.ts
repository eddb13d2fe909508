import { backoffMs } from './backoff.ts';
import { errorMessage, isInstance } from './describe-error.ts';
import { HandlerAborted, PermanentError, RetryAfterError } from '../errors.ts';
import type { DeadLetterReason } from '../events.ts';
import type { retryFields } from '../config/options.ts';
import type { Failure, Outcome } from './outcome.ts';
import type { Resolved } from '../config/schema.ts';

/** What is to be done with the message: what its handler wanted, made complete by the retry policy. */
export type Decision =
  | { readonly kind: 'ack' }
  | { readonly kind: 'skip'; readonly reason: string }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly reason: string; readonly error: unknown }
  | { readonly kind: 'snooze'; readonly delayMs: number; readonly reason: string }
  | { readonly kind: 'deadLetter'; readonly why: DeadLetterReason; readonly reason: string; readonly error: unknown };

/** The whole retry policy: a pure function of the result, the attempt and chance. */
export function decide(
  result: Outcome | Failure,
  attempt: number,
  policy: Resolved<typeof retryFields>,
  random: () => number,
): Decision {
  switch (result.kind) {
    case 'ack':
    case 'skip':
      return result;
    case 'deadLetter':
      return { kind: 'deadLetter', why: 'rejected', reason: result.reason, error: undefined };
    case 'retry':
      return again(result.reason ?? 'the handler asked for a retry', undefined, result.afterMs);
    case 'snooze':
      return { kind: 'snooze', delayMs: delay(result.forMs), reason: result.reason ?? 'the handler snoozed it' };
    case 'failed':
    default:
  }
  const { error } = result;
  const reason = errorMessage(error);
  if (isInstance(error, HandlerAborted) && error.code === 'CANCELLED') {
    return { kind: 'deadLetter', why: 'cancelled', reason, error };
  }
  if (isInstance(error, PermanentError) || !mayRetry(policy, error)) {
    return { kind: 'deadLetter', why: 'permanent', reason, error };
  }
  return again(reason, error, isInstance(error, RetryAfterError) ? error.afterMs : undefined);

  function again(why: string, cause: unknown, afterMs: number | undefined): Decision {
    if (attempt >= policy.maxAttempts) return { kind: 'deadLetter', why: 'exhausted', reason: why, error: cause };
    return { kind: 'retry', delayMs: delay(afterMs), reason: why, error: cause };
  }

  // A delay that is no number or in the past (a Retry-After read with `Number`) says nothing: with 0 in its place all
  // attempts would be used up within milliseconds.
  function delay(asked: number | undefined): number {
    if (typeof asked !== 'number' || !(asked > 0)) return backoffMs(policy, attempt, random);
    return Math.min(policy.maxAfterMs, Math.max(1, Math.round(asked)));
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
