import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type S3Client,
} from '@aws-sdk/client-s3';
import { StoreError, storeError } from './errors.ts';
import type { PartBuffers } from './part-buffers.ts';

/** An object that is written piece by piece, of a length that is not known before. Every method throws a `StoreError`. */
export interface ObjectUpload {
  /** Takes bytes, which may be overwritten once it has resolved. Resolves later when the store is slower than the writer. */
  write(bytes: Uint8Array): Promise<void>;
  /** Makes what was written the object: nothing is visible under its key before. An upload that cannot be finished is abandoned. */
  finish(): Promise<{ readonly sizeBytes: number }>;
  /** Abandons the upload; resolves when the store has released what it got. Never throws: `dropUnfinished` takes what is left. */
  abandon(): Promise<void>;
}

/** What an upload is of. */
export interface UploadTarget {
  readonly bucket: string;
  readonly key: string;
  readonly contentType: string;
  /** Refuse with `exists` when the key is taken. */
  readonly ifAbsent?: boolean | undefined;
  /** Ends the upload; the caller abandons it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * An upload in parts, or in one request when one part holds all:
 *
 *     gathering ──part full, and more to come──▶ in parts: one on the wire while the next is gathered
 *        │ finish: one PUT                          │ finish: the last part, then all are joined
 *        ▼                                          ▼
 *      stored                                     stored              (abandon leads out of every state)
 *
 * The part buffers are lent by a pool and go back when the store has answered. After a failure they do not: the
 * connection that broke may still be reading from them.
 */
export class PartUpload implements ObjectUpload {
  readonly #client: S3Client;
  readonly #buffers: PartBuffers;
  readonly #target: UploadTarget;
  #part: Buffer | undefined;
  #filled = 0;
  #sizeBytes = 0;
  #uploadId: string | undefined;
  #abandoned = false;
  readonly #stored: CompletedPart[] = [];
  #onTheWire: Promise<void> = Promise.resolve();

  constructor(client: S3Client, buffers: PartBuffers, target: UploadTarget) {
    this.#client = client;
    this.#buffers = buffers;
    this.#target = target;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      this.#throwIfAbandoned();
      this.#part ??= this.#buffers.take();
      if (this.#filled === this.#part.length) {
        await this.#sendPart(this.#part);
        continue;
      }
      const taken = bytes.subarray(at, at + this.#part.length - this.#filled);
      this.#part.set(taken, this.#filled);
      this.#filled += taken.length;
      at += taken.length;
    }
    this.#sizeBytes += bytes.length;
  }

  async finish(): Promise<{ readonly sizeBytes: number }> {
    try {
      await this.#onTheWire;
      if (this.#uploadId === undefined) await this.#putWhole();
      else await this.#joinParts(this.#uploadId);
      if (this.#part) this.#buffers.give(this.#part);
      this.#part = undefined;
      return { sizeBytes: this.#sizeBytes };
    } catch (error) {
      await this.abandon();
      throw storeError('PutObject', error);
    }
  }

  async abandon(): Promise<void> {
    this.#abandoned = true;
    await this.#onTheWire.catch(() => {});
    if (this.#part) this.#buffers.lose(this.#part);
    this.#part = undefined;
    const UploadId = this.#uploadId;
    if (UploadId === undefined) return;
    this.#uploadId = undefined;
    await this.#client.send(new AbortMultipartUploadCommand({ ...this.#object, UploadId })).catch(() => {});
  }

  get #object(): { Bucket: string; Key: string } {
    return { Bucket: this.#target.bucket, Key: this.#target.key };
  }

  get #abort(): { abortSignal?: AbortSignal } {
    const { signal } = this.#target;
    signal?.throwIfAborted();
    return signal ? { abortSignal: signal } : {};
  }

  get #condition(): { IfNoneMatch?: '*' } {
    return this.#target.ifAbsent === true ? { IfNoneMatch: '*' } : {};
  }

  // It may have been while this waited for the store: no buffer may be taken then, and no upload begun, that is never
  // released and ended.
  #throwIfAbandoned(): void {
    if (this.#abandoned) throw new StoreError('refused', 'PutObject: the upload was given up');
  }

  /** Waits for the part before, then puts this one on the wire and returns. */
  async #sendPart(part: Buffer): Promise<void> {
    try {
      await this.#onTheWire;
    } catch (error) {
      throw storeError('UploadPart', error);
    }
    this.#throwIfAbandoned();
    this.#part = undefined;
    this.#filled = 0;
    this.#onTheWire = this.#storePart(part).then(
      () => this.#buffers.give(part),
      (error: unknown) => {
        this.#buffers.lose(part);
        throw error;
      },
    );
    // The next call that writes or finishes is told.
    this.#onTheWire.catch(() => {});
  }

  async #storePart(bytes: Buffer): Promise<void> {
    const UploadId = (this.#uploadId ??= await this.#begin());
    const PartNumber = this.#stored.length + 1;
    const command = new UploadPartCommand({ ...this.#object, UploadId, PartNumber, Body: bytes });
    const { ETag } = await this.#client.send(command, this.#abort);
    this.#stored.push({ PartNumber, ETag });
  }

  async #begin(): Promise<string> {
    const command = new CreateMultipartUploadCommand({ ...this.#object, ContentType: this.#target.contentType });
    const { UploadId } = await this.#client.send(command, this.#abort);
    if (UploadId === undefined) throw new Error('the store began an upload without naming it');
    return UploadId;
  }

  async #putWhole(): Promise<void> {
    const Body = this.#part?.subarray(0, this.#filled) ?? Buffer.alloc(0);
    const ContentType = this.#target.contentType;
    const command = new PutObjectCommand({ ...this.#object, ...this.#condition, Body, ContentType });
    await this.#client.send(command, this.#abort);
  }

  async #joinParts(UploadId: string): Promise<void> {
    if (this.#part) await this.#storePart(this.#part.subarray(0, this.#filled));
    const MultipartUpload = { Parts: this.#stored };
    const command = new CompleteMultipartUploadCommand({
      ...this.#object,
      ...this.#condition,
      UploadId,
      MultipartUpload,
    });
    await this.#client.send(command, this.#abort);
    this.#uploadId = undefined;
  }
}
