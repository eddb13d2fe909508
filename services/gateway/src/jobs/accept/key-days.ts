import { createHash } from 'node:crypto';
import { lifetimes, scaledMs, writeEntry } from '@sluice/messaging';
import type { KV } from '@nats-io/kv';

/**
 * How long before and after midnight UTC the day of a key's first use is agreed on: longer than a request takes from its
 * admission to its job, and than the clocks of replicas differ. The entries live as long as both sides together.
 */
const AROUND_MIDNIGHT_MS = scaledMs(3_600_000);

/** Agrees on the day that a key is first used on, over all replicas. */
export interface KeyDays {
  /** The day that is the key's: `today`, unless another request with it said another one. */
  agree(account: string, key: string, today: number): Promise<number>;
}

/** The agreements in a bucket whose entries expire. */
export function keyDays(kv: Pick<KV, 'get' | 'create' | 'update'>): KeyDays {
  return {
    async agree(account, key, today) {
      const entry = createHash('sha256').update(`${account.length}:${account}${key}`).digest('hex').slice(0, 40);
      if ((await writeEntry(kv, entry, String(today), 0)) !== undefined) return today;
      const said = await kv.get(entry);
      // Expired since: then the other request is an hour old, and its job is there.
      return said?.operation === 'PUT' ? Number(said.string()) : today;
    },
  };
}

/** Whether a request may meet one of the other side of midnight. */
export function isAroundMidnight(nowMs: number): boolean {
  const since = nowMs % lifetimes.day;
  return Math.min(since, lifetimes.day - since) < AROUND_MIDNIGHT_MS;
}
