import { buckets, entriesAfter, openBucket, valueOf, type BucketSpec, type DirectBucket } from '@sluice/messaging';
import { hashAddress, isAddressHash } from './address-hash.ts';

/**
 * Why an address gets no mail:
 *
 * - `bounce`: a server says that there is no such mailbox.
 * - `complaint`: the reader called a mail spam.
 * - `unsubscribe`: the reader wants no more recurring mails. Mails that answer what the reader did are still sent.
 * - `manual`: an operator put it there.
 */
export type SuppressionReason = 'bounce' | 'complaint' | 'unsubscribe' | 'manual';

/** An entry of the list. It holds no address: only who has the address can find it. */
export interface Suppression {
  readonly hash: string;
  readonly reason: SuppressionReason;
  /** ISO time. */
  readonly since: string;
}

/** The addresses that get no mail, by hash, for every process that shares the broker. */
export interface Suppressions {
  /**
   * Why a mail to the address must not be sent.
   *
   * @param recurring the mail is one that can be unsubscribed from.
   */
  reasonFor(address: string, recurring: boolean): Promise<SuppressionReason | undefined>;
  /**
   * A server refused an address. `certain`, by an enhanced code, suppresses it; `likely`, in words alone, does so when
   * it happens a second time, because servers use the same words for refusals of the sender.
   *
   * @returns whether the address is newly suppressed.
   */
  bounced(address: string, certainty: 'certain' | 'likely'): Promise<boolean>;
  /** A mail to the address was taken: an earlier suspicion was wrong. */
  delivered(address: string): Promise<void>;
  /** @returns false when the address was suppressed for that kind of reason before. */
  add(address: string, reason: SuppressionReason): Promise<boolean>;
  /** Entries of one address, or of its hash. */
  find(addressOrHash: string): Promise<Suppression[]>;
  /** Lets mail to an address go out again, unsubscribed or not. @returns how many entries there were. */
  remove(addressOrHash: string): Promise<number>;
  /**
   * Every entry: bounces, complaints and those of operators, then unsubscribes, each in the order of their last change.
   *
   * @param cursor of an entry that was listed: begins behind it. What was added meanwhile to the first part is missed.
   * @throws {RangeError} for a text that is no cursor.
   */
  list(cursor?: string): AsyncIterable<Suppression & { readonly cursor: string }>;
}

interface Stored {
  readonly since: string;
  /** Entries of older versions have none and are bounces. `suspected` is no suppression yet. */
  readonly reason?: SuppressionReason | 'suspected';
}

const isStored = (value: object): value is Stored => typeof (value as Partial<Stored>).since === 'string';

/**
 * Opens the list.
 *
 * @param now the clock of the entries.
 * @param readerOf how entries are read, where that happens for every mail.
 */
export async function openSuppressions(
  nc: Parameters<typeof openBucket>[0],
  now: () => Date = () => new Date(),
  readerOf?: (spec: BucketSpec) => Pick<DirectBucket, 'get'>,
): Promise<Suppressions> {
  const [bounced, unsubscribed] = await Promise.all([
    openBucket(nc, buckets.emailSuppressions),
    openBucket(nc, buckets.emailUnsubscribes),
  ]);
  type Bucket = typeof bounced;
  const bucketFor = (reason: SuppressionReason): Bucket => (reason === 'unsubscribe' ? unsubscribed : bounced);
  const [readBounced, readUnsubscribed] = [
    readerOf?.(buckets.emailSuppressions) ?? bounced,
    readerOf?.(buckets.emailUnsubscribes) ?? unsubscribed,
  ];
  const read = async (bucket: Bucket, hash: string): Promise<Stored | undefined> =>
    valueOf(await (bucket === bounced ? readBounced : readUnsubscribed).get(hash), isStored);
  const write = (bucket: Bucket, hash: string, reason: NonNullable<Stored['reason']>): Promise<number> =>
    bucket.put(hash, JSON.stringify({ since: now().toISOString(), reason } satisfies Stored));
  const hashOf = (addressOrHash: string): string =>
    isAddressHash(addressOrHash) ? addressOrHash : hashAddress(addressOrHash);
  /** Addresses this process saw under suspicion, so that a delivery costs a write only for them. */
  const suspected = new Set<string>();

  const suppression = (hash: string, stored: Stored | undefined, fallback: SuppressionReason): Suppression[] => {
    if (stored === undefined || stored.reason === 'suspected') return [];
    return [{ hash, reason: stored.reason ?? fallback, since: stored.since }];
  };
  const find = async (hash: string): Promise<Suppression[]> => {
    const [bounce, wish] = await Promise.all([read(bounced, hash), read(unsubscribed, hash)]);
    return [...suppression(hash, bounce, 'bounce'), ...suppression(hash, wish, 'unsubscribe')];
  };

  return {
    async reasonFor(address, recurring) {
      const hash = hashAddress(address);
      const [bounce, wish] = await Promise.all([read(bounced, hash), recurring ? read(unsubscribed, hash) : undefined]);
      if (bounce?.reason === 'suspected') {
        if (suspected.size >= MAX_SUSPECTED) suspected.clear();
        suspected.add(hash);
      } else if (bounce !== undefined) return bounce.reason ?? 'bounce';
      return wish === undefined ? undefined : 'unsubscribe';
    },
    async bounced(address, certainty) {
      const hash = hashAddress(address);
      suspected.delete(hash);
      const before = await read(bounced, hash);
      if (before !== undefined && before.reason !== 'suspected') return false;
      const certain = certainty === 'certain' || before !== undefined;
      await write(bounced, hash, certain ? 'bounce' : 'suspected');
      return certain;
    },
    async delivered(address) {
      const hash = hashAddress(address);
      if (suspected.delete(hash)) await bounced.delete(hash);
    },
    async add(address, reason) {
      const hash = hashAddress(address);
      const bucket = bucketFor(reason);
      const before = await read(bucket, hash);
      if (before !== undefined && before.reason !== 'suspected') return false;
      await write(bucket, hash, reason);
      return true;
    },
    find: (addressOrHash) => find(hashOf(addressOrHash)),
    async remove(addressOrHash) {
      const hash = hashOf(addressOrHash);
      const found = await find(hash);
      await Promise.all([bounced.delete(hash), unsubscribed.delete(hash)]);
      return found.length;
    },
    async *list(cursor) {
      const [, from = '', after = '0'] = /^([bu])(\d{1,15})$/.exec(cursor ?? 'b0') ?? [];
      if (from === '') throw new RangeError('no cursor of this list');
      const parts = [
        { letter: 'b', bucket: buckets.emailSuppressions, fallback: 'bounce' },
        { letter: 'u', bucket: buckets.emailUnsubscribes, fallback: 'unsubscribe' },
      ] as const;
      for (const { letter, bucket, fallback } of parts) {
        if (letter < from) continue;
        const begin = letter === from ? Number(after) : 0;
        for await (const { key, value, revision } of entriesAfter(nc, bucket, { after: begin, isValue: isStored })) {
          for (const each of suppression(key, value, fallback)) yield { ...each, cursor: `${letter}${revision}` };
        }
      }
    },
  };
}

/** Of addresses under suspicion, so many are remembered in memory; forgetting one costs nothing but a later clean-up. */
const MAX_SUSPECTED = 10_000;
