import { Kvm, type KV, type KvEntry } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';

/** A key-value bucket. Entries expire together: keys with times of their own need a newer server than the oldest we run on. */
export interface BucketSpec {
  readonly name: string;
  readonly about: string;
  /** 0 keeps for ever. */
  readonly ttlMs: number;
}

/** Opens a bucket, making it first when it is not there. */
export async function openBucket(
  nc: NatsConnection,
  spec: BucketSpec,
  options: { readonly replicas?: number } = {},
): Promise<KV> {
  return new Kvm(nc).create(spec.name, {
    description: spec.about,
    ttl: spec.ttlMs,
    history: 1,
    replicas: options.replicas ?? 1,
    allow_direct: true,
  });
}

/** Whether what an entry holds is what the bucket is for. */
type IsValue<T extends object> = (value: object) => value is T;

/** What an entry holds; undefined for none, for one that was taken out, and for what is not meant for this bucket. */
export function valueOf<T extends object>(entry: KvEntry | null, isValue: IsValue<T>): T | undefined {
  if (entry?.operation !== 'PUT') return undefined;
  try {
    const value: unknown = entry.json();
    return typeof value === 'object' && value !== null && isValue(value) ? value : undefined;
  } catch {
    return undefined; // no JSON
  }
}

/**
 * Tells of every entry of a bucket, those that are there first, and of every change; undefined for one that was taken
 * out. What is not meant for the bucket is passed over: a slip at one entry must not keep every process from starting.
 *
 * Returns a function that stops it.
 */
export async function watchBucket<T extends object>(
  kv: KV,
  isValue: IsValue<T>,
  onEntry: (key: string, value: T | undefined) => void,
): Promise<() => void> {
  const watch = await kv.watch();
  void (async () => {
    for await (const entry of watch) {
      const value = valueOf(entry, isValue);
      if (value !== undefined || entry.operation !== 'PUT') onEntry(entry.key, value);
    }
  })();
  return () => watch.stop();
}
