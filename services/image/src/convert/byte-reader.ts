import { CorruptImageError, PayloadTooLargeError } from './errors.ts';
import { release } from './release-memory.ts';

/** One picture to convert. */
export interface PageSource {
  /** Named in error messages: a key, or "file 2". */
  readonly name: string;
  readonly sizeBytes: number;
  /** Whether what `open` gives is the reader's alone, so that its memory may be given back once it was read. */
  readonly disposable?: boolean;
  /** Opens the bytes from the start. May be called again: some pictures are read twice rather than held in memory. */
  open(): Promise<AsyncIterable<Uint8Array>>;
}

/** A source that is in memory already, such as the body of a message. */
export function sourceFromBytes(bytes: Uint8Array, name = 'image'): PageSource {
  return {
    name,
    sizeBytes: bytes.length,
    open: () => Promise.resolve(slices(bytes)),
  };
}

// In slices, so that verification and output overlap as they do when the bytes come from the network.
async function* slices(bytes: Uint8Array, sliceBytes = 256 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Reads a byte stream in pieces of the reader's choosing. Holds no more than what was asked for and the last chunk.
 * A stream that ends too early is a corrupt image; one longer than allowed is refused as it passes the limit.
 */
export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #maxBytes: number;
  readonly #disposable: boolean;
  #held: Buffer = Buffer.alloc(0);
  #received = 0;
  #consumed = false;

  constructor(stream: AsyncIterable<Uint8Array>, maxBytes: number, disposable = false) {
    this.#iterator = stream[Symbol.asyncIterator]();
    this.#maxBytes = maxBytes;
    this.#disposable = disposable;
  }

  /** A reader of a source from its start. */
  static async open(source: PageSource, maxBytes: number): Promise<ByteReader> {
    return new ByteReader(await source.open(), maxBytes, source.disposable);
  }

  /** How many bytes have arrived so far, read or not. */
  get receivedBytes(): number {
    return this.#received;
  }

  /** Whether nothing was taken out yet, only looked at. */
  get untouched(): boolean {
    return !this.#consumed;
  }

  /** Up to `count` bytes from here without consuming them; fewer only at the end of the stream. */
  async peek(count: number): Promise<Buffer> {
    while (this.#held.length < count && (await this.#more())) {
      // More bytes are held now.
    }
    return this.#held.subarray(0, count);
  }

  /** @throws {CorruptImageError} when the stream ends first */
  async read(count: number): Promise<Buffer> {
    const bytes = await this.peek(count);
    if (bytes.length < count) throw new CorruptImageError('the file ends too early');
    this.#held = this.#held.subarray(count);
    this.#consumed = true;
    return bytes;
  }

  /** The next bytes, as many as there are; undefined at the end of the stream. */
  async next(): Promise<Buffer | undefined> {
    if (this.#held.length === 0 && !(await this.#more())) return undefined;
    const bytes = this.#held;
    this.#consumed = true;
    this.#held = this.#held.subarray(this.#held.length);
    return bytes;
  }

  /** Says that the bytes `next` returned last are not used again: their memory is freed where possible. */
  done(bytes: Buffer): void {
    // Of a chunk that was taken apart, a piece may still be in use.
    const whole = bytes.byteOffset === 0 && bytes.length === bytes.buffer.byteLength;
    if (this.#disposable && whole) release(bytes);
  }

  /** Puts back bytes that `next` or `read` returned last. */
  unread(bytes: Buffer): void {
    this.#held = this.#held.length > 0 ? Buffer.concat([bytes, this.#held]) : bytes;
  }

  /** Everything that is left, in pieces that are valid until the next is asked for. */
  async *rest(): AsyncGenerator<Buffer> {
    for (let bytes = await this.next(); bytes; bytes = await this.next()) {
      yield bytes;
      this.done(bytes);
    }
  }

  /** Closes the stream, whether or not it was read to its end. */
  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #more(): Promise<boolean> {
    const step = await this.#iterator.next();
    if (step.done) return false;
    const bytes = asBuffer(step.value);
    this.#received += bytes.length;
    if (this.#received > this.#maxBytes) {
      throw new PayloadTooLargeError(`more than ${this.#maxBytes} bytes`);
    }
    this.#held = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    return true;
  }
}
