import type { ImageMediaType } from '@sluice/contracts';

const ascii = (bytes: Buffer, from: number, to: number): string => bytes.toString('latin1', from, to);

/** Width and height in pixels. */
export interface Dimensions {
  readonly width: number;
  readonly height: number;
}

/**
 * Width and height as the header states them, from the first bytes of the file. Undefined when the header is not within
 * them or is malformed; the decoder has limits of its own and judges that file.
 */
export function dimensions(type: ImageMediaType, head: Buffer): Dimensions | undefined {
  try {
    return readers[type](head);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // the header goes on past what is here
    throw error;
  }
}

const readers: Record<ImageMediaType, (head: Buffer) => Dimensions | undefined> = {
  'image/png': (head) => ({ width: head.readUInt32BE(16), height: head.readUInt32BE(20) }),
  'image/gif': (head) => ({ width: head.readUInt16LE(6), height: head.readUInt16LE(8) }),
  'image/jpeg': jpegDimensions,
  'image/webp': webpDimensions,
  'image/tiff': tiffDimensions,
  'image/avif': avifDimensions,
};

/** Walks the segments to the frame header. Those between can be long: an EXIF thumbnail, an ICC profile. */
function jpegDimensions(head: Buffer): Dimensions | undefined {
  for (let at = 2; ;) {
    if (head.readUInt8(at) !== 0xff) return undefined;
    const marker = head.readUInt8(at + 1);
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { height: head.readUInt16BE(at + 5), width: head.readUInt16BE(at + 7) };
    if (marker === 0xda || marker === 0xd9) return undefined;
    at += 2 + head.readUInt16BE(at + 2);
  }
}

function webpDimensions(head: Buffer): Dimensions | undefined {
  switch (ascii(head, 12, 16)) {
    case 'VP8 ':
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = head.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 };
    default:
      return undefined;
  }
}

const TIFF_WIDTH = 256;
const TIFF_HEIGHT = 257;
const TIFF_SHORT = 3;
const TIFF_LONG = 4;
const BIG_TIFF = 43;

/** Reads the first directory, whose offsets and counts have 64 bits in a BigTIFF. */
function tiffDimensions(head: Buffer): Dimensions | undefined {
  const little = head[0] === 0x49;
  const u16 = (at: number): number => (little ? head.readUInt16LE(at) : head.readUInt16BE(at));
  const u32 = (at: number): number => (little ? head.readUInt32LE(at) : head.readUInt32BE(at));
  const u64 = (at: number): number => Number(little ? head.readBigUInt64LE(at) : head.readBigUInt64BE(at));
  const big = u16(2) === BIG_TIFF;
  const directory = big ? u64(8) : u32(4);
  const [entries, first, entryBytes] = big ? [u64(directory), directory + 8, 20] : [u16(directory), directory + 2, 12];
  const found = new Map<number, number>();
  for (let entry = 0; entry < entries; entry += 1) {
    const at = first + entry * entryBytes;
    const type = u16(at + 2);
    const value = at + (big ? 12 : 8);
    found.set(u16(at), type === TIFF_SHORT ? u16(value) : big && type !== TIFF_LONG ? u64(value) : u32(value));
  }
  const width = found.get(TIFF_WIDTH);
  const height = found.get(TIFF_HEIGHT);
  return width === undefined || height === undefined ? undefined : { width, height };
}

/** The largest `ispe` property: a grid states its tiles' sizes beside the picture's own. */
function avifDimensions(head: Buffer): Dimensions | undefined {
  let largest: Dimensions | undefined;
  for (let at = head.indexOf('ispe'); at >= 0; at = head.indexOf('ispe', at + 4)) {
    const found = { width: head.readUInt32BE(at + 8), height: head.readUInt32BE(at + 12) };
    if (largest === undefined || found.width * found.height > largest.width * largest.height) largest = found;
  }
  return largest;
}
