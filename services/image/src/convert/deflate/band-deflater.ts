import zlib from 'node:zlib';
import { release } from '../release-memory.ts';
import { adler32 } from './adler32.ts';

/** How to deflate: a level, and a strategy where matches are not worth searching for. */
export interface DeflateTuning {
  readonly level: number;
  readonly strategy: number;
}

/**
 * For rows that are filtered already. A photo's filtered rows are noise: run-length matching is twice as fast as a
 * match search *and* smaller. Screenshots and text repeat themselves and need the search.
 */
export const tuning = {
  noise: { level: 1, strategy: zlib.constants.Z_RLE },
  /** Noise without a run in it: not even those are looked for. */
  grain: { level: 1, strategy: zlib.constants.Z_HUFFMAN_ONLY },
  repeats: { level: 3, strategy: zlib.constants.Z_DEFAULT_STRATEGY },
} as const satisfies Record<string, DeflateTuning>;

const windowBytes = 32 * 1024;
const zlibHeader = Buffer.from([0x78, 0x01]);
const emptyLastBlock = Buffer.from([0x03, 0x00]);

/**
 * Deflates one stream in bands, several at a time on the thread pool, into one valid zlib stream. The output depends
 * on the bands alone, not on which was done first.
 */
export class BandDeflater {
  readonly #tuning: DeflateTuning;
  readonly #atOnce: number;
  readonly #write: (bytes: Buffer) => Promise<void>;
  readonly #running: { readonly deflated: Promise<readonly Buffer[]>; readonly release: (() => void) | undefined }[] =
    [];
  #window: Buffer | undefined;
  #checksum = 1;
  #started = false;

  /**
   * @param atOnce how many bands are deflated at the same time: bounds the memory, too
   * @param write takes bytes that are gone once it has resolved
   */
  constructor(tuning: DeflateTuning, atOnce: number, write: (bytes: Buffer) => Promise<void>) {
    this.#tuning = tuning;
    this.#atOnce = atOnce;
    this.#write = write;
  }

  /** Adler-32 of everything taken so far. */
  get checksum(): number {
    return this.#checksum;
  }

  /**
   * Takes the next band; resolves when there is room for another. The band must not be changed before `release` is
   * called, which says that it may be used again.
   */
  async add(band: Buffer, release?: () => void): Promise<void> {
    if (band.length === 0) return;
    const searches = this.#tuning.strategy === zlib.constants.Z_DEFAULT_STRATEGY;
    const options = {
      ...this.#tuning,
      // Up to a byte boundary, and not the last block: the next band's output follows right behind.
      finishFlush: zlib.constants.Z_SYNC_FLUSH,
      // In one go where it fits: each further piece is another trip to the thread pool.
      chunkSize: searches ? Math.max(64 * 1024, band.length >> 2) : band.length + 1024,
      ...(searches && this.#window && { dictionary: this.#window }),
    };
    const deflated = deflateBand(band, options);
    deflated.catch(() => {});
    this.#running.push({ deflated, release });
    this.#checksum = adler32(band, this.#checksum);
    if (searches) this.#window = Buffer.from(band.subarray(-windowBytes));
    while (this.#running.length >= this.#atOnce) await this.#writeOldest();
  }

  /** Writes what is left and the end of the stream. */
  async end(): Promise<void> {
    while (this.#running.length > 0) await this.#writeOldest();
    await this.#begin();
    const trailer = Buffer.alloc(6);
    emptyLastBlock.copy(trailer);
    trailer.writeUInt32BE(this.#checksum, 2);
    await this.#write(trailer);
  }

  async #writeOldest(): Promise<void> {
    const oldest = this.#running.shift();
    if (!oldest) return;
    await this.#begin();
    const pieces = await oldest.deflated;
    oldest.release?.();
    for (const piece of pieces) await this.#write(piece);
    for (const piece of pieces) release(piece);
  }

  async #begin(): Promise<void> {
    if (this.#started) return;
    this.#started = true;
    await this.#write(zlibHeader);
  }
}

// zlib's own one-call function joins what comes in two pieces of one buffer, which is a copy, and leaves the buffer to
// the collector.
function deflateBand(band: Buffer, options: zlib.ZlibOptions): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    const deflate = zlib.createDeflateRaw(options);
    deflate.on('data', (piece: Buffer) => pieces.push(piece));
    deflate.once('end', () => resolve(pieces));
    deflate.once('error', reject);
    deflate.end(band);
  });
}
