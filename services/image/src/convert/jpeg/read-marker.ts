import type { ByteReader } from '../byte-reader.ts';
import { CorruptImageError } from '../errors.ts';

// Cameras leave a few bytes between segments. More than this is no header any more.
const mostStrayBytes = 64 * 1024;

/**
 * The next marker of a JPEG from a reader that stands behind a segment. Bytes that belong to none are skipped, as every
 * decoder does, and fill bytes, too.
 *
 * @throws {CorruptImageError} when there is none
 */
export async function readMarker(reader: ByteReader): Promise<number> {
  for (let skipped = 0; skipped <= mostStrayBytes; skipped++) {
    const [prefix] = await reader.read(1);
    if (prefix !== 0xff) continue;
    let [code = 0] = await reader.read(1);
    while (code === 0xff) [code = 0] = await reader.read(1);
    // Behind 0xff, a zero stands for a byte of data.
    if (code !== 0) return code;
  }
  throw new CorruptImageError('JPEG: no marker where one must be');
}
