import { createHash } from 'node:crypto';

/** Where a PDF goes. A write that resolves later holds the conversion back. */
export interface Sink {
  /** Takes bytes that are overwritten once it has resolved: what is to be kept must be copied. */
  write(bytes: Uint8Array): Promise<void> | void;
}

/** Counts and hashes what passes through it. */
export class MeasuringSink implements Sink {
  readonly #to: Sink;
  readonly #hash = createHash('sha256');
  #bytes = 0;

  constructor(to: Sink) {
    this.#to = to;
  }

  get bytes(): number {
    return this.#bytes;
  }

  write(bytes: Uint8Array): Promise<void> | void {
    this.#bytes += bytes.length;
    this.#hash.update(bytes);
    return this.#to.write(bytes);
  }

  /** SHA-256 of what was written so far. */
  fingerprint(): Buffer {
    return this.#hash.copy().digest();
  }

  /** SHA-256 of everything written, in hex. Ends the measuring. */
  sha256(): string {
    return this.#hash.digest('hex');
  }
}

/** Keeps a PDF in memory: for small ones and for tests. */
export class MemorySink implements Sink {
  readonly chunks: Uint8Array[] = [];

  write(bytes: Uint8Array): void {
    this.chunks.push(Buffer.from(bytes));
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.chunks);
  }
}
