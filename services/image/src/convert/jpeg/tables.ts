import { CorruptImageError } from '../errors.ts';

/** What a frame header (SOFn) says. */
export interface JpegFrame {
  readonly width: number;
  readonly height: number;
  /** Bits of a sample. */
  readonly bits: number;
  readonly components: readonly { readonly id: number; readonly horizontal: number; readonly vertical: number }[];
}

/** @param data the segment behind its length */
export function readFrame(data: Buffer): JpegFrame {
  const [bits = 0, , , , , count = 0] = data;
  if (data.length !== 6 + count * 3 || count === 0 || count > 4)
    throw new CorruptImageError('JPEG: broken frame header');
  const components = Array.from({ length: count }, (_, index) => {
    const [id = 0, sampling = 0, table = 0] = data.subarray(6 + index * 3, 9 + index * 3);
    return { id, horizontal: sampling >> 4, vertical: sampling & 15, table };
  });
  for (const { horizontal, vertical, table } of components) {
    const sane = horizontal >= 1 && horizontal <= 4 && vertical >= 1 && vertical <= 4 && table <= 3;
    if (!sane) throw new CorruptImageError('JPEG: impossible component');
  }
  if (new Set(components.map(({ id }) => id)).size < count) throw new CorruptImageError('JPEG: a component twice');
  const width = data.readUInt16BE(3);
  if (width === 0) throw new CorruptImageError('JPEG: no width');
  return { width, height: data.readUInt16BE(1), bits, components };
}

/** Proves that a DHT segment is a list of whole Huffman tables whose codes fit. */
export function checkHuffmanTables(data: Buffer): void {
  let at = 0;
  while (at < data.length) {
    const [selector = 255] = data.subarray(at, at + 1);
    const counts = data.subarray(at + 1, at + 17);
    const codes = counts.reduce((sum, count) => sum + count, 0);
    // Each code of a length takes its share of the code space; all ones is reserved.
    const space = counts.reduce((sum, count, index) => sum + count / 2 ** (index + 1), 0);
    const fits = counts.length === 16 && codes <= 256 && space <= 1 && at + 17 + codes <= data.length;
    if ((selector & 15) > 3 || selector >> 4 > 1 || !fits) throw new CorruptImageError('JPEG: broken Huffman table');
    at += 17 + codes;
  }
}

/** Proves that a DQT segment is a list of whole quantisation tables without a zero. */
export function checkQuantisationTables(data: Buffer): void {
  let at = 0;
  while (at < data.length) {
    const [selector = 255] = data.subarray(at, at + 1);
    const entryBytes = selector >> 4 === 0 ? 1 : 2;
    const table = data.subarray(at + 1, at + 1 + 64 * entryBytes);
    if ((selector & 15) > 3 || selector >> 4 > 1 || table.length !== 64 * entryBytes) {
      throw new CorruptImageError('JPEG: broken quantisation table');
    }
    at += 1 + table.length;
  }
}
