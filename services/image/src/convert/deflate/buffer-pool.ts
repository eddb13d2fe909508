import { release } from '../release-memory.ts';

/**
 * Buffers that are used over and over within one conversion. Each band of a picture would otherwise be new memory,
 * which costs more than what is done with it.
 */
export class BufferPool {
  readonly #free: Buffer[] = [];

  /** A buffer of at least so many bytes, cut to size. What is in it is undefined. */
  take(bytes: number): Buffer {
    const buffer = this.#free.pop();
    return buffer && buffer.length >= bytes ? buffer.subarray(0, bytes) : Buffer.allocUnsafeSlow(bytes);
  }

  give(buffer: Buffer): void {
    this.#free.push(buffer);
  }

  /** Gives back the memory of all buffers that were given back. */
  close(): void {
    for (const buffer of this.#free.splice(0)) release(buffer);
  }
}
