import type { ByteReader } from '../byte-reader.ts';
import { marker, segmentBytes, type JpegHeader } from './jpeg-header.ts';
import { readScans } from './jpeg-scans.ts';

// A segment's length is counted in 16 bits, and it begins with a name and two numbers.
const profilePartBytes = 65_535 - 2 - 14;

/**
 * The bytes of a JPEG for a decoder, in pieces that are valid until the next is asked for: what would be copied of it.
 *
 * @param withProfile whether the decoder is to apply the colour profile
 * @throws {CorruptImageError} when its structure is broken
 */
export async function* decodableJpeg(
  reader: ByteReader,
  header: JpegHeader,
  withProfile: boolean,
): AsyncGenerator<Buffer> {
  const [soi, ...segments] = header.segments as [Buffer, ...Buffer[]];
  yield soi;
  if (withProfile && header.profile) yield* profileSegments(Buffer.from(header.profile.data));
  yield* segments;
  // The structure of arithmetic and lossless coding is the decoder's to judge.
  yield* header.huffman ? readScans(reader, header) : reader.rest();
}

function* profileSegments(profile: Buffer): Generator<Buffer> {
  const parts = Math.ceil(profile.length / profilePartBytes);
  for (let part = 0; part < parts; part++) {
    const data = profile.subarray(part * profilePartBytes, (part + 1) * profilePartBytes);
    const head = Buffer.from(`\0\0ICC_PROFILE\0${String.fromCharCode(part + 1, parts)}`, 'latin1');
    head.writeUInt16BE(head.length + data.length, 0);
    yield segmentBytes(marker.app2, Buffer.concat([head, data]));
  }
}
