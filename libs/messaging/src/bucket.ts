import { Kvm, type KV } from '@nats-io/kv';
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
