import { idatBlocksValid } from './idat.ts';

/**
 * Copies blocks of IDAT data to the PDF while they are inflated to be checked. The newest blocks are held back until it
 * is known whether the zlib stream ends within them: some encoders leave bytes behind it, which are no pixels and must
 * not reach the PDF.
 */
export class IdatCopy {
  readonly #write: (block: Buffer) => Promise<void>;
  readonly #held: Buffer[] = [];
  #stopped = false;

  constructor(write: (block: Buffer) => Promise<void>) {
    this.#write = write;
  }

  /** The blocks, each taken to be copied before it is handed on. */
  async *taken(blocks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const block of blocks) {
      if (!this.#stopped) this.#held.push(block);
      // zlib holds one block and one waits: an older one has been inflated whole, so it ends before its stream does.
      const oldest = this.#held.length >= idatBlocksValid ? this.#held.shift() : undefined;
      if (oldest) await this.#write(oldest);
      yield block;
    }
  }

  /** The zlib stream has ended: blocks that follow are not copied. */
  stop(): void {
    this.#stopped = true;
  }

  /** Copies what is held, but for so many bytes behind the end of the zlib stream. */
  async end(trailingBytes: number): Promise<void> {
    let left = this.#held.reduce((sum, { length }) => sum + length, 0) - trailingBytes;
    if (left < 0) throw new RangeError('bytes behind the zlib stream were copied');
    for (const block of this.#held.splice(0)) {
      const part = block.subarray(0, left);
      if (part.length > 0) await this.#write(part);
      left -= part.length;
    }
  }
}
