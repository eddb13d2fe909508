import type { KV } from '@nats-io/kv';
import { changeEntry, EntryContendedError } from '@sluice/messaging';

/** So many requests in a window. Windows are the same for every replica: they are cut by the wall clock. */
export interface RatePolicy {
  /** Part of the headers and of the key in the store. */
  readonly name: string;
  /** Per window; 0 lifts the limit. */
  readonly limit: number;
  readonly windowMs: number;
}

/** What became of one request. */
export interface RateVerdict {
  readonly policy: RatePolicy;
  readonly allowed: boolean;
  /** At least this many more, as far as this replica knows. */
  readonly remaining: number;
  /** Until the next window. */
  readonly resetMs: number;
}

interface Lease {
  readonly window: number;
  tokens: number;
  /** What no replica had leased when the counter was last read. */
  unleased: number;
  asking: Promise<void> | undefined;
}

// A lease is this share of the limit: more means fewer trips to the store, less means a fairer split.
const LEASE_SHARE = 0.05;
const CAS_ROUNDS = 20;
const MAX_TRACKED = 50_000;

/**
 * Limits that hold over all replicas together. Each takes tokens of the current window out of one counter in the store,
 * some at a time, by compare-and-set; requests are then counted in memory. Never more than the limit is admitted in a
 * window, however many replicas there are.
 *
 * When the store does not answer, each replica falls back to the limit of its own: limits exist to keep the system up,
 * so they must not take it down.
 */
export class RateLimiter {
  readonly #kv: KV;
  readonly #now: () => number;
  readonly #leases = new Map<string, Lease>();

  constructor(kv: KV, now: () => number = Date.now) {
    this.#kv = kv;
    this.#now = now;
  }

  /** Counts so many requests of `who` against a policy: all of them, or none. */
  async take(policy: RatePolicy, who: string, count = 1): Promise<RateVerdict> {
    const nowMs = this.#now();
    const window = Math.floor(nowMs / policy.windowMs);
    const resetMs = (window + 1) * policy.windowMs - nowMs;
    if (policy.limit <= 0) return { policy, allowed: true, remaining: Number.MAX_SAFE_INTEGER, resetMs };
    const lease = this.#lease(policy, who, window);
    while (lease.tokens < count && lease.unleased > 0) {
      // Requests that arrive meanwhile share the trip.
      lease.asking ??= this.#extend(policy, who, lease, count - lease.tokens).finally(() => {
        lease.asking = undefined;
      });
      await lease.asking;
    }
    const allowed = lease.tokens >= count;
    if (allowed) lease.tokens -= count;
    return { policy, allowed, remaining: Math.max(0, lease.tokens + lease.unleased), resetMs };
  }

  #lease(policy: RatePolicy, who: string, window: number): Lease {
    const key = `${policy.name}.${who}`;
    let lease = this.#leases.get(key);
    if (lease === undefined || lease.window !== window) {
      // Callers that sent nothing for a while; one that comes back starts in a fresh window anyway.
      if (this.#leases.size >= MAX_TRACKED) this.#leases.clear();
      lease = { window, tokens: 0, unleased: policy.limit, asking: undefined };
      this.#leases.set(key, lease);
    }
    return lease;
  }

  async #extend(policy: RatePolicy, who: string, lease: Lease, needed: number): Promise<void> {
    const key = `${policy.name}.${who}.${lease.window}`;
    const want = Math.max(needed, Math.ceil(policy.limit * LEASE_SHARE));
    let share = 0;
    let leased = 0;
    try {
      await changeEntry(
        this.#kv,
        key,
        (entry) => {
          leased = entry === null ? 0 : Number(entry.string()) || 0;
          share = Math.max(0, Math.min(want, policy.limit - leased));
          return share === 0 ? undefined : String(leased + share);
        },
        CAS_ROUNDS,
      );
      lease.tokens += share;
      lease.unleased = share === 0 ? 0 : policy.limit - leased - share;
    } catch (error) {
      // Others take so many that nothing is left for this replica to win; without the store it counts alone.
      if (!(error instanceof EntryContendedError)) lease.tokens += lease.unleased;
      lease.unleased = 0;
    }
  }
}
