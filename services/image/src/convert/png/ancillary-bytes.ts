import zlib from 'node:zlib';
import { ImageTooLargeError } from '../errors.ts';
import { isCritical } from './chunk-header.ts';

/**
 * How many bytes the text, the profile and everything else that is no pixel may be in one PNG, once unfolded: eight
 * times what libpng keeps of a single chunk unless it is told to (`PNG_USER_CHUNK_MALLOC_MAX`, 8 MB).
 */
const mostAncillaryBytes = 64 * 2 ** 20;
// Deflate makes at most so many bytes of one. So a compressed text of less than 64 kB need never be unfolded to know.
const mostRatio = 1032;
const inflatedPieceBytes = 256 * 1024;

/** One chunk that is counted. Both throw {@link ImageTooLargeError} when it is too much. */
export interface AncillaryChunk {
  push(data: Buffer): Promise<void>;
  end(): Promise<void>;
}

/**
 * Counts what a PNG carries besides its pixels. None of it goes into the PDF, but a file with gigabytes of it is made
 * to exhaust the memory of its reader.
 *
 * Compressed chunks that could be too large are inflated to be counted, and no further than to the limit. Those that
 * cannot be count as what they could be at most, apart from the rest: together no file gets beyond twice the limit.
 */
export class AncillaryBytes {
  #known = 0;
  #possible = 0;

  /**
   * Begins a chunk that says it has so many bytes; undefined when its data need not be seen. What is counted is what
   * comes: a file that ends before a huge chunk does is broken, not large.
   */
  chunk(type: string, length: number): AncillaryChunk | undefined {
    if (isCritical(type)) return undefined;
    const findStream = deflatedAt[type];
    const possible = length * mostRatio;
    if (!findStream) return { push: async (data) => this.#add(data.length), end: async () => {} };
    if (this.#known + this.#possible + possible <= mostAncillaryBytes) {
      this.#possible += possible;
      return undefined;
    }
    return this.#compressed(findStream);
  }

  #compressed(findStream: FindStream): AncillaryChunk {
    let size: InflatedSize | undefined;
    return {
      push: async (data) => {
        let stream = data;
        if (!size) {
          const at = findStream(data);
          // What does not begin as it should is not compressed, or no decoder will unfold it.
          if (at === undefined) return this.#add(data.length);
          size = new InflatedSize(mostAncillaryBytes - this.#known);
          stream = data.subarray(at);
        }
        await size.push(stream);
        this.#throwIfTooMany(size.bytes);
      },
      end: async () => {
        await size?.end();
        this.#add(size?.bytes ?? 0);
      },
    };
  }

  #add(bytes: number): void {
    this.#throwIfTooMany(bytes);
    this.#known += bytes;
  }

  #throwIfTooMany(bytes: number): void {
    if (this.#known + bytes <= mostAncillaryBytes) return;
    throw new ImageTooLargeError(`PNG: more than ${mostAncillaryBytes / 2 ** 20} MiB of text and metadata`);
  }
}

/** Where the zlib stream begins in a chunk, judged by its first bytes; undefined when there is none. */
type FindStream = (data: Buffer) => number | undefined;

const deflatedAt: Readonly<Record<string, FindStream>> = {
  zTXt: behindName,
  iCCP: behindName,
  iTXt(data) {
    const name = data.indexOf(0);
    const compressed = name >= 0 && data[name + 1] === 1 && data[name + 2] === 0;
    const language = compressed ? data.indexOf(0, name + 3) : -1;
    const translated = language >= 0 ? data.indexOf(0, language + 1) : -1;
    return translated >= 0 ? translated + 1 : undefined;
  },
};

function behindName(data: Buffer): number | undefined {
  const name = data.indexOf(0);
  return name >= 0 && data[name + 1] === 0 ? name + 2 : undefined;
}

/** How many bytes a zlib stream unfolds to, on the thread pool; it is given up once they are more than allowed. */
class InflatedSize {
  bytes = 0;
  readonly #inflate = zlib.createInflate({ chunkSize: inflatedPieceBytes });
  readonly #closed: Promise<void>;

  constructor(most: number) {
    // A broken stream is what it is: no decoder gets further.
    this.#inflate.on('error', () => {});
    this.#closed = new Promise((resolve) => this.#inflate.once('close', () => resolve()));
    this.#inflate.on('data', (piece: Buffer) => {
      this.bytes += piece.length;
      if (this.bytes > most) this.#inflate.destroy();
    });
  }

  async push(data: Buffer): Promise<void> {
    // After the end of its stream zlib takes nothing more and calls no write callback.
    if (this.#inflate.destroyed || this.#inflate.readableEnded) return;
    const taken = new Promise<void>((resolve) => this.#inflate.write(data, () => resolve()));
    await Promise.race([taken, this.#closed]);
  }

  async end(): Promise<void> {
    this.#inflate.end();
    await this.#closed;
  }
}
