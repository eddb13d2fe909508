/**
 * What a file is, judged by its bytes alone: the name and the declared type come from whoever sent it. And how large
 * the picture is, read from its header, so that a bomb is refused before anything decodes it.
 */

/** The kinds of picture that are accepted. */
export const mediaTypes = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/tiff', 'image/avif'] as const;
export type MediaType = (typeof mediaTypes)[number];

/** How many bytes of a file decide what it is. */
export const SNIFF_BYTES = 64;

const ascii = (bytes: Buffer, from: number, to: number): string => bytes.toString('latin1', from, to);

/** The kind of picture that begins with these bytes, or undefined when it is none that is accepted. */
export function sniff(bytes: Buffer): MediaType | undefined {
  // A PNG's signature alone is no picture: IHDR has to follow, with its fixed length.
  if (ascii(bytes, 0, 8) === '\x89PNG\r\n\x1a\n') {
    return ascii(bytes, 8, 16) === '\0\0\0\x0dIHDR' ? 'image/png' : undefined;
  }
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'image/jpeg';
  if (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP') return 'image/webp';
  if (/^GIF8[79]a/.test(ascii(bytes, 0, 6))) return 'image/gif';
  if (ascii(bytes, 0, 4) === 'II*\0' || ascii(bytes, 0, 4) === 'MM\0*') return 'image/tiff';
  if (ascii(bytes, 4, 8) === 'ftyp' && isAvif(bytes)) return 'image/avif';
  return undefined;
}

/** ISO media files share one signature; the brands say what they hold. */
function isAvif(bytes: Buffer): boolean {
  const end = Math.min(bytes.length, Math.max(16, bytes.readUInt32BE(0)));
  for (let at = 8; at + 4 <= end; at += at === 8 ? 8 : 4) {
    if (ascii(bytes, at, at + 4) === 'avif') return true;
  }
  return false;
}

export interface Dimensions {
  readonly width: number;
  readonly height: number;
}

/**
 * Width and height as the header states them, from the first bytes of the file. Undefined when the header is not within
 * them or makes no sense; the decoder has limits of its own and judges that file.
 */
export function dimensions(type: MediaType, head: Buffer): Dimensions | undefined {
  try {
    return readers[type](head);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // the header goes on past what is here
    throw error;
  }
}

const readers: Record<MediaType, (head: Buffer) => Dimensions | undefined> = {
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

function tiffDimensions(head: Buffer): Dimensions | undefined {
  const little = head[0] === 0x49;
  const u16 = (at: number) => (little ? head.readUInt16LE(at) : head.readUInt16BE(at));
  const u32 = (at: number) => (little ? head.readUInt32LE(at) : head.readUInt32BE(at));
  const directory = u32(4);
  const found = new Map<number, number>();
  for (let entry = 0; entry < u16(directory); entry += 1) {
    const at = directory + 2 + entry * 12;
    found.set(u16(at), u16(at + 2) === TIFF_SHORT ? u16(at + 8) : u32(at + 8));
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
