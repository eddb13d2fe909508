import type { Progress } from './inbox.ts';

/** How long a mail is tried, and how often. */
export interface RetryPolicy {
  /** Deliveries that may end in a refusal for now or an error. */
  readonly maxFailures: number;
  /** How long after its first attempt a mail is still tried. RFC 5321 4.5.4.1 wants days for mail of people. */
  readonly forMs: number;
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Copies under one Message-ID that a server which never answers may get. Each attempt more may be one more. */
export const MAX_UNANSWERED = 3;

/** What to do with a mail that was not taken: try again after a delay, or give it up and why. */
export type RetryDecision =
  | { readonly kind: 'retry'; readonly afterMs: number }
  | { readonly kind: 'deadLetter'; readonly why: string };

/**
 * Decides on the next delivery of a mail. The engine's own count of deliveries is no measure: a delivery that only found
 * a provider out of reach has tried nothing.
 *
 * @param random in 0..1; half of each delay is jitter.
 */
export function decideRetry(policy: RetryPolicy, progress: Progress, nowMs: number, random: number): RetryDecision {
  const ageMs = nowMs - Date.parse(progress.since);
  if (progress.unanswered >= MAX_UNANSWERED) {
    return {
      kind: 'deadLetter',
      why: `${progress.unanswered} attempts had no answer; the mail may have been delivered`,
    };
  }
  if (progress.failures >= policy.maxFailures)
    return { kind: 'deadLetter', why: `${progress.failures} attempts failed` };
  if (ageMs >= policy.forMs) return { kind: 'deadLetter', why: `tried for ${Math.round(ageMs / 60_000)} minutes` };
  const delayMs = Math.min(policy.maxMs, policy.baseMs * 3 ** Math.max(0, progress.failures + progress.unanswered - 1));
  // The last attempt is made at the end of the time, not after it.
  return { kind: 'retry', afterMs: Math.min(Math.round(delayMs * (0.5 + random / 2)), policy.forMs - ageMs) };
}
