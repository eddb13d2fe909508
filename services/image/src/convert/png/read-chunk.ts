import zlib from 'node:zlib';
import type { ByteReader } from '../byte-reader.ts';
import type { AncillaryBytes } from './ancillary-bytes.ts';
import { checkCrc, isCritical, type ChunkHeader } from './chunk-header.ts';

const sliceBytes = 65_536;

/**
 * Reads a chunk's data and checksum from a reader that stands behind its header. The data is returned when it is to be
 * kept; otherwise it is looked at as it passes.
 *
 * The checksum of a chunk that does not bear on the pixels may be wrong: its data is not returned then.
 *
 * @throws {CorruptImageError} when the checksum of another chunk is wrong or the file ends
 * @throws {ImageTooLargeError} when the file carries too much besides its pixels
 */
export async function readChunk(
  reader: ByteReader,
  { type, length }: ChunkHeader,
  ancillary: AncillaryBytes,
  keep: boolean,
): Promise<Buffer | undefined> {
  const counted = ancillary.chunk(type, length);
  const kept: Buffer[] = [];
  let crc = zlib.crc32(type);
  for (let left = length; left > 0;) {
    const slice = await reader.read(Math.min(left, sliceBytes));
    crc = zlib.crc32(slice, crc);
    left -= slice.length;
    if (keep) kept.push(Buffer.from(slice));
    await counted?.push(slice);
  }
  await counted?.end();
  const stated = (await reader.read(4)).readUInt32BE(0);
  // Transparency is ancillary by its name, but without it another picture is drawn.
  if (isCritical(type) || type === 'tRNS') checkCrc(crc, stated, type);
  return keep && crc === stated ? Buffer.concat(kept) : undefined;
}
