import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { bucketStream } from '../provision/settings.ts';
import type { BucketSpec } from '../provision/specs.ts';
import { parseValue, type IsValue } from './bucket.ts';

export interface BucketEntry<T extends object> {
  readonly key: string;
  readonly value: T;
  /** Grows with every write to the bucket: the reading goes on behind it. */
  readonly revision: number;
}

/**
 * The entries of a bucket in the order in which they were written last, a request each: a reading that stops and goes on
 * later misses none. An entry that is written meanwhile comes again at the end.
 *
 * @param after the revision behind which to begin; 0 for the beginning.
 */
export async function* entriesAfter<T extends object>(
  nc: NatsConnection,
  bucket: Pick<BucketSpec, 'name'>,
  { after, isValue }: { readonly after: number; readonly isValue: IsValue<T> },
): AsyncGenerator<BucketEntry<T>> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const prefix = `$KV.${bucket.name}.`;
  for (let revision = after; ;) {
    const found = await jsm.direct.getMessage(bucketStream(bucket), {
      seq: revision + 1,
      next_by_subj: `${prefix}>`,
    });
    if (found === null) return;
    revision = found.seq;
    const removed = found.header?.has('KV-Operation') || found.header?.has('Nats-Marker-Reason');
    const value = removed ? undefined : parseValue(found.data, isValue);
    if (value !== undefined) yield { key: found.subject.slice(prefix.length), value, revision };
  }
}
