/** The kinds of file we accept. */
export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'tiff' | 'gif' | 'avif';

/** How many bytes `sniff` wants to see. */
export const sniffBytes = 64;

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const TIFF_MARKS = ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'];

/**
 * The format of a file, judged by its first bytes alone: neither its name nor the media type it came with counts.
 * Undefined for everything that is not accepted, SVG and HEIC among it.
 */
export function sniff(head: Uint8Array): ImageFormat | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const ascii = (from: number, to: number): string => bytes.toString('latin1', from, to);
  if (bytes.subarray(0, 8).equals(PNG)) return 'png';
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') return 'webp';
  if (TIFF_MARKS.includes(ascii(0, 4))) return 'tiff';
  if (ascii(0, 6) === 'GIF87a' || ascii(0, 6) === 'GIF89a') return 'gif';
  if (ascii(4, 8) === 'ftyp' && isAvif(bytes)) return 'avif';
  return undefined;
}

/**
 * Whether a file that is of no accepted format was a PNG once: its header chunk is there, but not its signature. The
 * signature is made to break when a transfer changes line ends or drops the eighth bit, and all pixels are lost then.
 */
export function wasPng(head: Uint8Array): boolean {
  return Buffer.from(head.buffer, head.byteOffset, head.byteLength).subarray(8, 24).includes('IHDR');
}

// An ISO media file names its major brand at 8 and its compatible brands from 16 on. HEIC uses the same container.
function isAvif(bytes: Buffer): boolean {
  const end = Math.min(bytes.readUInt32BE(0), bytes.length);
  const brands = [bytes.toString('latin1', 8, 12)];
  for (let at = 16; at + 4 <= end; at += 4) brands.push(bytes.toString('latin1', at, at + 4));
  return brands.includes('avif') || brands.includes('avis');
}
