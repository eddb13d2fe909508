import zlib from 'node:zlib';
import { CorruptImageError } from '../errors.ts';
import type { ByteReader } from '../byte-reader.ts';
import { checkCrc, chunkHeader, isCritical, type ChunkHeader } from './chunk-header.ts';
import type { PngMetadata } from './png-metadata.ts';
import { readChunk } from './read-chunk.ts';

/** How large the blocks are that IDAT data is gathered into: encoders cut it every 8 KiB, zlib and S3 like more. */
const idatBlockBytes = 128 * 1024;

/** How many of the blocks yielded last are valid, the newest among them. Older ones are overwritten. */
export const idatBlocksValid = 3;

/**
 * The data of a PNG's consecutive IDAT chunks from a reader that stands at the first one's data, in blocks, up to and
 * with the IEND chunk. What follows IEND is never read into the picture. A block is overwritten when
 * `idatBlocksValid` more have been asked for.
 *
 * @throws {CorruptImageError} when a checksum is wrong, a chunk is out of place, or the file ends early
 * @throws {ImageTooLargeError} when there is too much behind the pixels
 */
export async function* readIdat(
  reader: ByteReader,
  metadata: Pick<PngMetadata, 'firstIdatBytes' | 'ancillary'>,
): AsyncGenerator<Buffer> {
  const scan = new IdatScanner(metadata.firstIdatBytes);
  while (!scan.next) {
    const bytes = await reader.next();
    if (!bytes) throw new CorruptImageError('PNG: the file ends before IEND');
    yield* scan.push(bytes);
    if (scan.next) reader.unread(bytes.subarray(scan.nextAt));
    else reader.done(bytes);
  }
  await readTrailer(reader, scan.next, metadata);
  if (scan.block.length > 0) yield scan.block;
}

/** Everything behind the pixels, up to and with IEND. */
async function readTrailer(
  reader: ByteReader,
  first: ChunkHeader,
  { ancillary }: Pick<PngMetadata, 'ancillary'>,
): Promise<void> {
  for (let chunk = first; ; chunk = chunkHeader(await reader.read(8))) {
    const { type, length } = chunk;
    if (type === 'IDAT') throw new CorruptImageError('PNG: pixels in two places');
    if (isCritical(type) && (type !== 'IEND' || length > 0)) {
      throw new CorruptImageError(`PNG: unexpected chunk ${type}`);
    }
    await readChunk(reader, chunk, ancillary, false);
    if (type === 'IEND') return;
  }
}

// Where the scanner stands in a chunk: in its 8-byte header, its data, or the 4-byte checksum behind it.
type Part = 'header' | 'data' | 'crc';

/** Walks IDAT chunks over buffers of any size without waiting in between: a photo has five thousand of them. */
class IdatScanner {
  /** The chunk behind the last IDAT, once it is there, and where its data begins in what was pushed last. */
  next: ChunkHeader | undefined;
  nextAt = 0;
  #part: Part = 'data';
  #left: number;
  #crc = zlib.crc32('IDAT');
  readonly #field = Buffer.alloc(8);
  #fieldBytes = 0;
  // One more than are valid: the one that is being filled.
  readonly #blocks: Buffer[] = [];
  #blocksFilled = 0;
  #block = this.#takeBlock();
  #blockBytes = 0;

  constructor(firstIdatBytes: number) {
    this.#left = firstIdatBytes;
  }

  /** What was gathered since the last full block. */
  get block(): Buffer {
    return this.#block.subarray(0, this.#blockBytes);
  }

  *push(bytes: Buffer): Generator<Buffer> {
    let at = 0;
    while (!this.next && (at < bytes.length || (this.#part === 'data' && this.#left === 0))) {
      if (this.#part !== 'data') {
        at = this.#gatherField(bytes, at);
        continue;
      }
      const slice = bytes.subarray(at, at + Math.min(this.#left, idatBlockBytes - this.#blockBytes));
      this.#crc = zlib.crc32(slice, this.#crc);
      at += slice.length;
      this.#left -= slice.length;
      slice.copy(this.#block, this.#blockBytes);
      this.#blockBytes += slice.length;
      if (this.#blockBytes === idatBlockBytes) yield this.#nextBlock();
      if (this.#left === 0) this.#expect('crc');
    }
    this.nextAt = at;
  }

  #nextBlock(): Buffer {
    const full = this.#block;
    this.#blocksFilled++;
    this.#block = this.#takeBlock();
    this.#blockBytes = 0;
    return full;
  }

  #takeBlock(): Buffer {
    return (this.#blocks[this.#blocksFilled % (idatBlocksValid + 1)] ??= Buffer.allocUnsafeSlow(idatBlockBytes));
  }

  #expect(part: Part): void {
    this.#part = part;
    this.#fieldBytes = 0;
  }

  #gatherField(bytes: Buffer, at: number): number {
    const size = this.#part === 'crc' ? 4 : 8;
    const taken = bytes.copy(this.#field, this.#fieldBytes, at, at + size - this.#fieldBytes);
    this.#fieldBytes += taken;
    if (this.#fieldBytes === size) {
      if (this.#part === 'crc') this.#endChunk();
      else this.#beginChunk();
    }
    return at + taken;
  }

  #endChunk(): void {
    checkCrc(this.#crc, this.#field.readUInt32BE(0), 'IDAT');
    this.#expect('header');
  }

  #beginChunk(): void {
    const chunk = chunkHeader(this.#field);
    if (chunk.type !== 'IDAT') {
      this.next = chunk;
      return;
    }
    this.#left = chunk.length;
    this.#crc = zlib.crc32('IDAT');
    this.#part = 'data';
  }
}
