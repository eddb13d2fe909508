import { CorruptImageError } from '../errors.ts';

export const colourType = { gray: 0, rgb: 2, palette: 3, grayAlpha: 4, rgba: 6 } as const;
type ColourType = (typeof colourType)[keyof typeof colourType];

/** What a PNG's IHDR says. */
export interface PngHeader {
  readonly width: number;
  readonly height: number;
  readonly bits: 1 | 2 | 4 | 8 | 16;
  readonly colourType: ColourType;
  readonly interlaced: boolean;
  /** Samples of a pixel, alpha included. */
  readonly channels: number;
  readonly hasAlpha: boolean;
  /** Bytes of one row once inflated, its filter byte not counted. */
  readonly rowBytes: number;
  /** Bytes of the whole picture once inflated, filter bytes included. Says nothing of an interlaced one. */
  readonly inflatedBytes: number;
}

/** Signature, chunk header and IHDR: where the first look at a PNG ends. */
export const pngHeaderBytes = 33;

const channelsOf: Record<ColourType, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const bitsOf: Record<ColourType, readonly number[]> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/**
 * Reads the header from the first 33 bytes of a file that begins with PNG's signature.
 *
 * @throws {CorruptImageError} when they do not hold a valid one
 */
export function readPngHeader(head: Buffer): PngHeader {
  if (head.length < pngHeaderBytes) throw new CorruptImageError('PNG: the file ends in its header');
  if (head.readUInt32BE(8) !== 13 || head.toString('latin1', 12, 16) !== 'IHDR') {
    throw new CorruptImageError('PNG: the first chunk is not IHDR');
  }
  const width = head.readUInt32BE(16);
  const height = head.readUInt32BE(20);
  if (width === 0 || height === 0 || width > 0x7fffffff || height > 0x7fffffff) {
    throw new CorruptImageError(`PNG: impossible size ${width} x ${height}`);
  }
  const [bits = 0, type = 0, compression, filtering, interlace = 0] = head.subarray(24, 29);
  if (!bitsOf[type as ColourType]?.includes(bits)) {
    throw new CorruptImageError(`PNG: no such format: colour type ${type} at ${bits} bits`);
  }
  if (compression !== 0 || filtering !== 0 || interlace > 1) throw new CorruptImageError('PNG: unknown IHDR method');

  const channels = channelsOf[type as ColourType];
  const rowBytes = Math.ceil((width * channels * bits) / 8);
  return {
    width,
    height,
    bits: bits as PngHeader['bits'],
    colourType: type as ColourType,
    interlaced: interlace === 1,
    channels,
    hasAlpha: type === colourType.grayAlpha || type === colourType.rgba,
    rowBytes,
    inflatedBytes: (rowBytes + 1) * height,
  };
}
