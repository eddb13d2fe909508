import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import {
  detectFileType,
  FILE_TYPE_BYTES,
  imageMediaTypes,
  ImageSourceSchema,
  type ImageMediaType,
} from '@sluice/contracts';
import type { ObjectStore } from '@sluice/storage';
import type { TakenSource } from '../jobs/accept/image-request.ts';
import { inMib } from './sizes.ts';
import { freeChunk } from '../admission/free-chunk.ts';
import { GatewayError } from '../errors.ts';
import { OneATurn } from '../one-a-turn.ts';
import { dimensions } from './dimensions.ts';

export interface IntakeLimits {
  /** Of one request, all files together. */
  readonly maxBytes: number;
  /** Of one picture, width times height. */
  readonly maxPixels: number;
  /** Files in one request. */
  readonly maxFiles: number;
  /** Bytes of one request that may travel inside the message instead of through the store. */
  readonly inlineBytes: number;
}

/**
 * How much of a file is read before anything is stored: enough to say what it is, and how large the picture is even
 * behind an EXIF thumbnail and a colour profile.
 */
export const HEAD_BYTES = 256 * 1024;

/**
 * Takes in the pictures of one request. Each is judged by its first bytes before anything is stored; what is small
 * stays in memory to travel inside the message, what is large streams into the store while it arrives, digest and size
 * counted on the way. `discard` removes what was stored when the request comes to nothing.
 */
export class Intake {
  readonly #store: ObjectStore;
  readonly #limits: IntakeLimits;
  readonly #keyOf: (index: number) => string;
  readonly #dryRun: boolean;
  readonly #taken: {
    content: Buffer | undefined;
    key: string;
    sizeBytes: number;
    mediaType: ImageMediaType;
    sha256: string;
    fileName: string | undefined;
  }[] = [];
  #bytes = 0;

  /** `dryRun` stores nothing and only computes digests: for the repeat of a request whose job exists already. */
  constructor(store: ObjectStore, limits: IntakeLimits, keyOf: (index: number) => string, dryRun = false) {
    this.#store = store;
    this.#limits = limits;
    this.#keyOf = keyOf;
    this.#dryRun = dryRun;
  }

  /**
   * Takes one file to its end. With `ownsChunks` the chunks of it have no other reader: their memory is given back.
   *
   * @throws {GatewayError} 415, 413 or 422; the rest of the stream is left unread then.
   * @throws {StoreError}
   */
  async take(file: Readable, fileName?: string, { ownsChunks = false } = {}): Promise<void> {
    const index = this.#taken.length;
    if (index >= this.#limits.maxFiles) {
      throw new GatewayError('payload_too_large', `At most ${this.#limits.maxFiles} files make one PDF.`);
    }
    const chunks = chunkByChunk(file);
    const head: Buffer[] = [];
    let headBytes = 0;
    let ended = false;
    let judged = false;
    while (headBytes < HEAD_BYTES) {
      const next = await chunks.next();
      if (next.done === true) {
        ended = true;
        break;
      }
      head.push(next.value);
      headBytes += next.value.length;
      this.#count(next.value.length);
      if (!judged && headBytes >= FILE_TYPE_BYTES) {
        judge(Buffer.concat(head));
        judged = true;
      }
    }
    const first = Buffer.concat(head);
    const mediaType = judge(first);
    refuseBomb(mediaType, first, this.#limits.maxPixels);

    const key = this.#keyOf(index);
    const hash = createHash('sha256').update(first);
    let sizeBytes = first.length;
    const entry = { content: ended ? first : undefined, key, sizeBytes, mediaType, sha256: '', fileName };
    this.#taken.push(entry);
    if (!ended) {
      const upload = this.#dryRun ? undefined : this.#store.upload(key, { contentType: mediaType });
      try {
        await upload?.write(first);
        // Not `for await`: leaving it early destroys the request, and with it the socket the answer is to go out on.
        for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
          this.#count(next.value.length);
          sizeBytes += next.value.length;
          hash.update(next.value);
          await upload?.write(next.value);
          if (ownsChunks) freeChunk(next.value);
        }
        await upload?.finish();
      } catch (error) {
        await upload?.abandon();
        throw error;
      }
    }
    entry.sizeBytes = sizeBytes;
    entry.sha256 = hash.digest('hex');
    await this.#spill();
  }

  /** What was taken, in order. At least one file. */
  sources(): readonly TakenSource[] {
    return this.#taken.map(({ content, key, sizeBytes, mediaType, sha256, fileName }) => ({
      sha256,
      fileName,
      source: create(ImageSourceSchema, {
        from: content === undefined ? { case: 'key', value: key } : { case: 'content', value: content },
        sizeBytes: BigInt(sizeBytes),
        mediaType,
      }),
    }));
  }

  /** Removes what was stored, best effort: the upload cleanup finds what stays behind. */
  async discard(): Promise<void> {
    const stored = this.#taken.filter((entry) => entry.content === undefined && !this.#dryRun);
    await Promise.allSettled(stored.map((entry) => this.#store.delete(entry.key)));
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.maxBytes) {
      throw new GatewayError('payload_too_large', `A request may carry ${inMib(this.#limits.maxBytes)} of images.`);
    }
  }

  /** Once the files together are too many bytes for a message, those held in memory go to the store. */
  async #spill(): Promise<void> {
    const held = this.#taken.filter((entry) => entry.content !== undefined);
    const inline = held.reduce((sum, entry) => sum + entry.sizeBytes, 0);
    if (held.length === this.#taken.length && inline <= this.#limits.inlineBytes) return;
    for (const entry of held) {
      if (!this.#dryRun) await this.#store.put(entry.key, entry.content!, { contentType: entry.mediaType });
      entry.content = undefined;
    }
  }
}

/** Refuses a picture whose header states more pixels than are taken. Throws an `GatewayError`. */
export function refuseBomb(mediaType: ImageMediaType, head: Buffer, maxPixels: number): void {
  const size = dimensions(mediaType, head);
  if (size === undefined || size.width * size.height <= maxPixels) return;
  const detail = `The image is ${size.width} x ${size.height} pixels; at most ${maxPixels} in all are taken.`;
  throw new GatewayError('image_too_large', detail);
}

/**
 * Of all uploads of the process: many of one client are no reason to let the others wait for a piece of each. Four and more
 * over a fast line rest a millisecond after each piece, which leaves most of the loop to what is not an upload.
 */
const turns = new OneATurn({ restsBehind: 2 });

/**
 * The chunks of a stream, one of all uploads in each turn of the event loop. A socket with more to read is otherwise read 32 times in a
 * row, 2 MiB, as long as its reader keeps up: a few uploads over a fast line made every other request wait 30 ms a turn.
 */
function chunkByChunk(stream: Readable): { next(): Promise<IteratorResult<Buffer, undefined>> } {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterableIterator<Buffer, undefined>;
  return {
    async next() {
      const next = await chunks.next();
      await new Promise<void>((resolve) => turns.run(resolve));
      return next;
    },
  };
}

/** The media type of a file by its first bytes. Throws an `GatewayError` for a file that is not accepted. */
export function judge(head: Buffer): ImageMediaType {
  const found = detectFileType(head);
  if (found.kind === 'image') return imageMediaTypes[found.format];
  throw new GatewayError(found.kind === 'damaged' ? 'corrupt_image' : 'unsupported_media_type', `${found.message}.`);
}
