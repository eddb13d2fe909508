import zlib from 'node:zlib';
import type { ByteReader } from '../byte-reader.ts';
import { readIdat } from './idat.ts';
import type { PngMetadata } from './png-metadata.ts';

/**
 * The bytes of a PNG for a decoder, in pieces that are valid until the next is asked for: its header, palette,
 * transparency and pixels. What is asked of a PNG that is copied is asked of this one as it passes, but for its pixels,
 * which the decoder judges: every checksum, the order of chunks, their end, and how much there is besides the picture.
 *
 * Everything else stays behind, because libpng warns of much that does not bear on the pixels (a profile it does not
 * like, a chunk out of place), and a warning fails the picture.
 *
 * @throws {CorruptImageError} when its chunks are broken, out of place or end early
 * @throws {ImageTooLargeError} for more text and metadata than any real file has
 */
export async function* decodablePng(reader: ByteReader, metadata: PngMetadata): AsyncGenerator<Buffer> {
  const { palette, transparency } = metadata;
  yield metadata.head;
  if (palette) yield* chunk('PLTE', palette);
  if (transparency) yield* chunk('tRNS', transparency);
  for await (const block of readIdat(reader, metadata)) yield* chunk('IDAT', block);
  yield* chunk('IEND', Buffer.alloc(0));
}

function* chunk(type: string, data: Buffer): Generator<Buffer> {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length, 0);
  head.write(type, 4, 'latin1');
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(zlib.crc32(data, zlib.crc32(type)), 0);
  yield head;
  yield data;
  yield crc;
}
