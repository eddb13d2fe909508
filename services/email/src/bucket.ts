import { writeEntry as writeText, type DirectBucket } from '@sluice/messaging';

/** A JetStream key-value bucket. Its writes survive a killed broker, which acks of a work queue do not. */
export type Bucket = DirectBucket;

export interface Entry<T> {
  readonly value: T;
  readonly revision: number;
  readonly writtenAt: Date;
}

/** The entry of a key, or undefined when there is none. */
export async function readEntry<T>(bucket: Bucket, key: string): Promise<Entry<T> | undefined> {
  const entry = await bucket.get(key);
  if (entry === null || entry.operation !== 'PUT') return undefined;
  return {
    value: JSON.parse(Buffer.from(entry.value).toString()) as T,
    revision: entry.revision,
    writtenAt: entry.created,
  };
}

/**
 * Writes a key if it still stands at `revision`, 0 for "not there". Returns the new revision, or undefined when another writer
 * else was first; every other failure is thrown, so that a full bucket or a lost broker never looks like a decision.
 */
export async function writeEntry(
  bucket: Bucket,
  key: string,
  value: unknown,
  revision: number,
): Promise<number | undefined> {
  return writeText(bucket, key, JSON.stringify(value), revision);
}
