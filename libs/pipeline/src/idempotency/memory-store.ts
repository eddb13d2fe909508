import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { IdempotencyStore } from './store.ts';

type Entry =
  | { readonly state: 'claimed'; readonly fence: number; until: number }
  | { readonly state: 'done'; readonly until: number };

const SWEEP_EVERY = 1024;

/**
 * Remembers keys in this process: for tests, and for work whose duplicates always meet the same process. Forgets
 * everything on a restart and knows nothing of other replicas; `kvIdempotencyStore` does.
 */
export function memoryIdempotencyStore(options: { clock?: Clock } = {}): IdempotencyStore {
  const clock = options.clock ?? systemClock;
  const entries = new Map<string, Entry>();
  let lastFence = 0;
  let calls = 0;
  const live = (key: string): Entry | undefined => {
    const entry = entries.get(key);
    return entry === undefined || entry.until <= clock.now() ? undefined : entry;
  };
  const mine = (key: string, fence: number): Extract<Entry, { state: 'claimed' }> | undefined => {
    const entry = entries.get(key);
    return entry?.state === 'claimed' && entry.fence === fence ? entry : undefined;
  };
  const forgetExpired = (): void => {
    if (++calls % SWEEP_EVERY !== 0) return;
    const now = clock.now();
    for (const [key, entry] of entries) if (entry.until <= now) entries.delete(key);
  };
  return {
    async begin(key, claimMs) {
      forgetExpired();
      const entry = live(key);
      if (entry?.state === 'done') return { state: 'done' };
      if (entry !== undefined) return { state: 'busy', retryAfterMs: entry.until - clock.now() };
      const fence = ++lastFence;
      entries.set(key, { state: 'claimed', fence, until: clock.now() + claimMs });
      return { state: 'new', fence };
    },
    async renew(key, fence, claimMs) {
      const claim = mine(key, fence);
      if (claim === undefined) return false;
      claim.until = clock.now() + claimMs;
      return true;
    },
    async complete(key, fence, ttlMs) {
      if (mine(key, fence) === undefined) return false;
      entries.set(key, { state: 'done', until: clock.now() + ttlMs });
      return true;
    },
    async release(key, fence) {
      if (mine(key, fence) !== undefined) entries.delete(key);
    },
  };
}
