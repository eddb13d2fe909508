import { jetstreamManager } from '@nats-io/jetstream';
import { Kvm, type KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { apiErrorCode, JS_ERROR } from '../nats/api-error.ts';
import { provision, type ProvisionOptions } from '../provision/provision.ts';
import { bucketStream } from '../provision/settings.ts';
import type { BucketSpec } from '../provision/specs.ts';
import type { BucketEntry } from './entry.ts';

/** A bucket that was to be opened is not on the server. */
export class BucketMissingError extends Error {
  override readonly name = 'BucketMissingError';
  readonly code = 'bucket_missing';
  constructor(bucket: string, cause: unknown) {
    super(`the bucket ${bucket} does not exist: start the gateway, which makes it`, { cause });
  }
}

/**
 * Opens a bucket that was provisioned. It makes none: a bucket made in passing would have the replicas and limits of
 * the first caller.
 *
 * @throws {BucketMissingError}
 */
export async function openBucket(nc: NatsConnection, { name }: Pick<BucketSpec, 'name'>): Promise<KV> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  await jsm.streams.info(bucketStream({ name })).catch((error: unknown) => {
    if (apiErrorCode(error) === JS_ERROR.streamNotFound) throw new BucketMissingError(name, error);
    throw error;
  });
  return new Kvm(nc).open(name, { allow_direct: true });
}

/** Makes a bucket if it is not there, and opens it. */
export async function createBucket(nc: NatsConnection, spec: BucketSpec, options?: ProvisionOptions): Promise<KV> {
  await provision(nc, { streams: [], buckets: [spec] }, options);
  return openBucket(nc, spec);
}

/** Whether what an entry holds is what the bucket is for. */
export type IsValue<T extends object> = (value: object) => value is T;

/** What an entry holds; undefined for none, for one that was taken out, and for what is not meant for this bucket. */
export function valueOf<T extends object>(
  entry: Pick<BucketEntry, 'operation' | 'value'> | null,
  isValue: IsValue<T>,
): T | undefined {
  return entry?.operation === 'PUT' ? parseValue(entry.value, isValue) : undefined;
}

/** The value that bytes hold; undefined when they hold none that is meant for the bucket. */
export function parseValue<T extends object>(bytes: Uint8Array, isValue: IsValue<T>): T | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === 'object' && value !== null && isValue(value) ? value : undefined;
  } catch {
    return undefined; // no JSON
  }
}
