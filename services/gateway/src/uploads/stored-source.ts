import { create } from '@bufbuild/protobuf';
import { ImageSourceSchema } from '@sluice/contracts';
import type { ObjectStore } from '@sluice/storage';
import type { TakenSource } from '../jobs/accept/image-request.ts';
import { inMib } from './sizes.ts';
import { GatewayError } from '../errors.ts';
import { HEAD_BYTES, judge, refuseBomb, type IntakeLimits } from './take-source.ts';

/**
 * An object that a client put into the store itself, judged like any other upload: by its first bytes, its size and the
 * pixels its header states.
 *
 * @throws {GatewayError} 404, 413, 415 or 422.
 * @throws {StoreError}
 */
export async function storedSource(store: ObjectStore, key: string, limits: IntakeLimits): Promise<TakenSource> {
  const found = await store.head(key);
  if (found === undefined) throw new GatewayError('not_found', 'Nothing has been uploaded there.');
  if (found.sizeBytes > limits.maxBytes) {
    throw new GatewayError('payload_too_large', `A request may carry ${inMib(limits.maxBytes)} of images.`);
  }
  const head = await firstBytes(store, key);
  const mediaType = judge(head);
  refuseBomb(mediaType, head, limits.maxPixels);
  const source = create(ImageSourceSchema, {
    from: { case: 'key', value: key },
    sizeBytes: BigInt(found.sizeBytes),
    mediaType,
  });
  // An upload is one object under a key of its own: the key says which bytes are meant.
  return { source, sha256: `key:${key}` };
}

async function firstBytes(store: ObjectStore, key: string): Promise<Buffer> {
  const { body } = await store.get(key);
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop early destroys the stream, which ends the transfer.
  for await (const chunk of body) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes >= HEAD_BYTES) break;
  }
  return Buffer.concat(chunks);
}
