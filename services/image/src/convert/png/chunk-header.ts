import { CorruptImageError } from '../errors.ts';

/** What stands in front of every chunk's data. */
export interface ChunkHeader {
  readonly type: string;
  /** Bytes of its data. */
  readonly length: number;
}

// Letters, of which the third must be upper case: in lower case it is reserved, and libpng refuses it, too.
const chunkType = /^[A-Za-z]{2}[A-Z][A-Za-z]$/;

/** @throws {CorruptImageError} when the 8 bytes are no chunk's header */
export function chunkHeader(bytes: Buffer): ChunkHeader {
  const length = bytes.readUInt32BE(0);
  const type = bytes.toString('latin1', 4, 8);
  if (length > 0x7fffffff || !chunkType.test(type)) throw new CorruptImageError('PNG: broken chunk header');
  return { type, length };
}

/** Whether a decoder that does not know the chunk must give up: its first letter is upper case. */
export function isCritical(type: string): boolean {
  return (type.charCodeAt(0) & 32) === 0;
}

/** @throws {CorruptImageError} when a chunk's checksum is not what the file says */
export function checkCrc(actual: number, stated: number, type: string): void {
  if (actual !== stated) throw new CorruptImageError(`PNG: checksum of ${type} does not match`);
}
