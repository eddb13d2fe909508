import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { apiErrorCode, JS_ERROR } from '../nats/api-error.ts';
import { bucketStream } from '../provision/settings.ts';
import type { BucketSpec } from '../provision/specs.ts';

/**
 * Takes an entry out of a bucket and leaves nothing. `kv.delete` and `kv.purge` leave a marker for each key, so that
 * watchers are told: a bucket whose keys never come again, and that nothing watches, would fill with markers.
 *
 * @param revision of the entry as it was read.
 * @returns false when it is not there any more: it was deleted, or written anew.
 */
export async function deleteEntry(
  nc: NatsConnection,
  bucket: Pick<BucketSpec, 'name'>,
  revision: number,
): Promise<boolean> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  try {
    return await jsm.streams.deleteMessage(bucketStream(bucket), revision, false);
  } catch (error) {
    const code = apiErrorCode(error);
    if (code === JS_ERROR.sequenceNotFound || code === JS_ERROR.noMessageFound) return false;
    throw error;
  }
}
