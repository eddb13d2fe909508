import type { ByteReader } from '../byte-reader.ts';
import type { JpegHeader } from './jpeg-header.ts';
import { readScans } from './jpeg-scans.ts';

/**
 * The bytes of a JPEG for a decoder, in pieces that are valid until the next is asked for: what would be copied of it.
 *
 * @throws {CorruptImageError} when its structure is broken
 */
export async function* decodableJpeg(reader: ByteReader, header: JpegHeader): AsyncGenerator<Buffer> {
  yield* header.segments;
  // The structure of arithmetic and lossless coding is the decoder's to judge.
  yield* header.huffman ? readScans(reader, header) : reader.rest();
}
