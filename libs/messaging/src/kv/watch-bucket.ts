import type { JsMsg } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { apiErrorCode, JS_ERROR } from '../nats/api-error.ts';
import { followStream } from '../nats/follow-stream.ts';
import { bucketStream } from '../provision/settings.ts';
import type { BucketSpec } from '../provision/specs.ts';
import { BucketMissingError, parseValue, type IsValue } from './bucket.ts';

export interface BucketWatchOptions<T extends object> {
  /** Whether what an entry holds is what the bucket is for; what is not is passed over. */
  readonly isValue: IsValue<T>;
  /** Every entry, those that are there first, and every change; undefined for one that was taken out. */
  readonly onEntry: (key: string, value: T | undefined) => void;
  /** What a listener threw, and what keeps the bucket from being watched. */
  readonly onError?: (error: unknown, what: string) => void;
  /** True watches also while the bucket does not exist: nothing has been told then when this resolves. */
  readonly mayBeMissing?: boolean;
  readonly checkEveryMs?: number;
}

export interface BucketWatch {
  /** Why changes cannot be heard at the moment; undefined when they can. */
  trouble(): string | undefined;
  stop(): Promise<void>;
}

/**
 * Watches a bucket for as long as the process lives. Resolves once everything that is there has been told.
 *
 * After a lost connection, and after the bucket was deleted and made again, all entries are told once more, and those
 * that are gone are told as taken out: the listener's copy is the bucket again. While the bucket is missing the copy
 * stays as it was.
 *
 * @throws {BucketMissingError} when it is not there and may not be missing.
 */
export async function watchBucket<T extends object>(
  nc: NatsConnection,
  bucket: Pick<BucketSpec, 'name'>,
  { isValue, onEntry, onError, mayBeMissing, checkEveryMs }: BucketWatchOptions<T>,
): Promise<BucketWatch> {
  const prefix = `$KV.${bucket.name}.`;
  const known = new Set<string>();
  /** Keys told since the last restart, until everything has been told. */
  let told: Set<string> | undefined;
  const complete = Promise.withResolvers<void>();
  const tell = (key: string, value: T | undefined): void => {
    if (value === undefined) known.delete(key);
    else known.add(key);
    try {
      onEntry(key, value);
    } catch (error) {
      onError?.(error, `an entry of ${bucket.name}`);
    }
  };

  const follower = await followStream(nc, {
    stream: bucketStream(bucket),
    start: 'last-per-subject',
    onRestart() {
      told = new Set();
    },
    onMessage(message) {
      const key = message.subject.slice(prefix.length);
      const removed = isRemoval(message);
      const value = removed ? undefined : parseValue(message.data, isValue);
      // An entry that became unreadable is not gone: what was told of it stays.
      if (!removed) told?.add(key);
      if (value !== undefined || removed) tell(key, value);
    },
    onCaughtUp() {
      const gone = told === undefined ? [] : [...known].filter((key) => told?.has(key) === false);
      told = undefined;
      for (const key of gone) tell(key, undefined);
      complete.resolve();
    },
    ...(onError === undefined ? {} : { onError }),
    ...(mayBeMissing === undefined ? {} : { mayBeMissing }),
    ...(checkEveryMs === undefined ? {} : { checkEveryMs }),
  }).catch((error: unknown) => {
    if (apiErrorCode(error) === JS_ERROR.streamNotFound) throw new BucketMissingError(bucket.name, error);
    throw error;
  });
  if (follower.trouble() === undefined) await complete.promise;
  return follower;
}

/** Whether a message of a bucket's stream takes its key out: by a client, or by the server at the end of a lifetime. */
const isRemoval = ({ headers }: JsMsg): boolean =>
  ['DEL', 'PURGE'].includes(headers?.get('KV-Operation') ?? '') || headers?.has('Nats-Marker-Reason') === true;
