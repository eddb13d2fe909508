import { scaledMs } from '@sluice/messaging';
import type { Middleware, RetryPolicy } from '@sluice/pipeline';
import { StoreError } from '@sluice/storage';

/** Whether the store does not answer, or answers that it cannot: another picture would fare no better. */
export const isStoreAway = (error: unknown): error is StoreError =>
  error instanceof StoreError && (error.code === 'unavailable' || error.code === 'timeout');

/**
 * How old a message is when a store that is away begins to use up its attempts: one object that the store has lost for
 * good looks the same, and must not come back for ever.
 */
const PATIENCE_MS = scaledMs(24 * 3_600_000, 60_000);

/**
 * Sends work back while the store is away: no attempt is used, and the breaker is told, which stops pulling. A message
 * asks again the later the longer it has waited.
 */
export function whileStoreIsAway<T, D extends { readonly now: () => Date }>({
  baseMs,
  maxMs,
}: Required<Pick<RetryPolicy, 'baseMs' | 'maxMs'>>): Middleware<T, D> {
  return (next) => async (message, context) => {
    try {
      return await next(message, context);
    } catch (error) {
      const ageMs = context.deps.now().getTime() - message.publishedAt.getTime();
      if (!isStoreAway(error) || ageMs >= PATIENCE_MS) throw error;
      // Spread, so that what failed together does not come back together.
      const forMs = Math.min(maxMs, Math.max(baseMs, ageMs / 2)) * (0.75 + Math.random() / 2);
      return { kind: 'snooze', forMs, reason: error.message, error };
    }
  };
}
