import { hashOf } from '../address-hash.ts';
import { readEntry, writeEntry, type Bucket } from '../bucket.ts';

/** Addresses that a provider called dead. Mail to them is not even tried: providers judge senders by their bounces. */
export interface Suppressions {
  has(address: string): Promise<boolean>;
  /** Remembers a hard bounce. Repeats change nothing. */
  add(address: string): Promise<void>;
}

export function createSuppressions(bucket: Bucket, now: () => Date = () => new Date()): Suppressions {
  return {
    has: async (address) => (await readEntry(bucket, hashOf(address))) !== undefined,
    async add(address) {
      await writeEntry(bucket, hashOf(address), { since: now().toISOString() }, 0);
    },
  };
}
