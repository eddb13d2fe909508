import zlib from 'node:zlib';
import { CorruptImageError } from '../errors.ts';
import { release } from '../release-memory.ts';
import type { PngHeader } from './png-header.ts';
import { idatBlocksValid } from './idat.ts';
import type { IdatCopy } from './idat-copy.ts';

// Each piece is a hop to the thread pool and back: text and flat art inflate to twenty times their size, where hops
// of 128 KiB take twice as long as the inflating. Larger ones than this gain nothing more.
const pieceBytes = 512 * 1024;
// zlib takes no smaller ones.
const leastPieceBytes = 64;
// One block in zlib's hands and one waiting, so that it never waits for the network.
const blocksAhead = idatBlocksValid - 1;

/**
 * Inflates a PNG's pixel data on the thread pool, proving on the way that it is whole: exactly as long as the header
 * says, every row with a known filter, zlib's checksum right. More than the picture holds is refused as soon as it
 * appears, so a bomb never unfolds. Yields the inflated rows in pieces of no particular size, each valid until the next
 * is asked for. Bytes behind the zlib stream are read to their end and ignored, as libpng does.
 *
 * @param copy told when the zlib stream has ended, and how many of the bytes that were read lie behind it
 * @throws {CorruptImageError} when the data is not the picture that the header announced
 * @throws the errors of `blocks`
 */
export async function* inflatePixels(
  header: PngHeader,
  blocks: AsyncIterable<Buffer>,
  copy?: IdatCopy,
): AsyncGenerator<Buffer> {
  const chunkSize = Math.min(pieceBytes, header.inflatedBytes + leastPieceBytes);
  const inflate = zlib.createInflate({ chunkSize });
  const feeding = feed(inflate, blocks, () => copy?.stop());
  // The read below fails with the same error, or was left early.
  feeding.catch((error: unknown) => inflate.destroy(error as Error));
  const check = new PixelCheck(header);
  let last: Buffer | undefined;
  try {
    for await (const piece of inflate as AsyncIterable<Buffer>) {
      // zlib fills one piece of memory to its end before it takes another.
      if (last && last.buffer !== piece.buffer) release(last);
      last = piece;
      check.push(piece);
      yield piece;
    }
    if (last) release(last);
    const fedBytes = await feeding;
    check.end();
    await copy?.end(fedBytes - inflate.bytesWritten);
  } catch (error) {
    if (isZlibError(error)) throw new CorruptImageError('PNG: pixel data is broken', { cause: error });
    throw error;
  } finally {
    inflate.destroy();
  }
}

/**
 * Writes blocks as fast as zlib takes them, and reads those behind the end of its stream. Resolves with how many bytes
 * there were until `onEnd` was called.
 */
async function feed(inflate: zlib.Inflate, blocks: AsyncIterable<Buffer>, onEnd: () => void): Promise<number> {
  let waiting = 0;
  let wake = (): void => {};
  const settled = (): void => wake();
  // Once its stream has ended, zlib calls no write callback any more: without these events the wait never ends.
  inflate.on('end', settled).on('close', settled);
  const ended = (): boolean => inflate.readableEnded || inflate.destroyed;
  let over = false;
  const stop = (): void => {
    if (!over) onEnd();
    over = true;
  };
  let fedBytes = 0;
  for await (const block of blocks) {
    // What follows is checked as it passes: a file that ends within it is cut short.
    if (inflate.destroyed) break;
    if (over) continue;
    fedBytes += block.length;
    const until = fedBytes;
    waiting++;
    inflate.write(block, () => {
      waiting--;
      // It calls back for the block in which its stream ends, too, without having read it to its end.
      if (inflate.bytesWritten < until) stop();
      wake();
    });
    if (waiting >= blocksAhead) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (waiting < blocksAhead || ended()) resolve();
      });
    }
    if (ended()) stop();
  }
  inflate.end();
  return fedBytes;
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_');
}

/** Follows the rows as they are inflated. */
class PixelCheck {
  readonly #stride: number;
  readonly #expected: number;
  #seen = 0;

  constructor({ rowBytes, inflatedBytes }: PngHeader) {
    this.#stride = rowBytes + 1;
    this.#expected = inflatedBytes;
  }

  push(piece: Buffer): void {
    const stride = this.#stride;
    const start = this.#seen;
    this.#seen += piece.length;
    if (this.#seen > this.#expected) throw new CorruptImageError('PNG: more pixels than the header says');
    for (let at = (stride - (start % stride)) % stride; at < piece.length; at += stride) {
      if ((piece[at] as number) > 4) throw new CorruptImageError('PNG: unknown row filter');
    }
  }

  end(): void {
    if (this.#seen !== this.#expected) throw new CorruptImageError('PNG: pixel rows are missing');
  }
}
