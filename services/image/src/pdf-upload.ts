import { PassThrough } from 'node:stream';
import type { ObjectStore } from '@sluice/storage';
import type { Sink } from './convert/sink.ts';
import { releaseDeadBuffers } from './heap.ts';

// Enough to keep the conversion going while a part is on the wire.
const aheadBytes = 256 * 1024;
// Of one PDF: smaller ones end before their buffers matter.
const releaseEveryBytes = 6 * 2 ** 20;

/**
 * Streams a PDF into the store while it is written, in parts, so that it is never in memory as a whole. Nothing is
 * visible under the key before `finish`; `abandon` leaves nothing behind.
 */
export class PdfUpload implements Sink {
  readonly #body = new PassThrough({ highWaterMark: aheadBytes });
  readonly #stored: Promise<unknown>;
  readonly #failed = Promise.withResolvers<never>();
  #sinceRelease = 0;

  constructor(store: Pick<ObjectStore, 'put'>, key: string, signal: AbortSignal) {
    this.#stored = store.put(key, this.#body, { contentType: 'application/pdf', signal });
    this.#failed.promise.catch(() => {});
    this.#stored.catch((error: unknown) => {
      this.#failed.reject(error);
      this.#body.destroy();
    });
    // Whoever waits for the upload sees its error; a stream's own event would end the process.
    this.#body.on('error', () => {});
  }

  /** @throws {StoreError} when the upload has failed */
  async write(bytes: Uint8Array): Promise<void> {
    this.#sinceRelease += bytes.length;
    if (this.#sinceRelease > releaseEveryBytes) {
      this.#sinceRelease = 0;
      releaseDeadBuffers();
    }
    if (this.#body.write(bytes)) return;
    const drained = Promise.withResolvers<void>();
    this.#body.once('drain', drained.resolve);
    await Promise.race([drained.promise, this.#failed.promise]);
  }

  /** Completes the upload. */
  async finish(): Promise<void> {
    this.#body.end();
    await this.#stored;
  }

  /** Gives the upload up; resolves when the store has let go of it. */
  async abandon(reason: Error): Promise<void> {
    this.#body.destroy(reason);
    await this.#stored.catch(() => {});
  }
}
