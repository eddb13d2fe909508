/** The image formats that are converted, and the media type of each. */
export const imageMediaTypes = {
  png: 'image/png',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  tiff: 'image/tiff',
  avif: 'image/avif',
} as const;
export type ImageFormat = keyof typeof imageMediaTypes;
export type ImageMediaType = (typeof imageMediaTypes)[ImageFormat];

/** How many bytes of a file `detectFileType` needs. */
export const FILE_TYPE_BYTES = 64;

/** What the first bytes of a file say it is. */
export type FileType =
  | { readonly kind: 'image'; readonly format: ImageFormat }
  /** Recognised as an image format, but its header is destroyed. */
  | { readonly kind: 'damaged'; readonly message: string }
  /** Anything else; the message says what was found and what to send instead. */
  | { readonly kind: 'other'; readonly message: string };

const accepted = 'Accepted are PNG, JPEG, WebP, GIF, TIFF and AVIF, told apart by their first bytes';

/**
 * The type of a file by its first bytes: neither its name nor the media type it was sent with counts. The gateway and
 * the image service share this function, so that what one accepts the other does not refuse.
 *
 * @param head the first `FILE_TYPE_BYTES` bytes, fewer only where the file is shorter
 */
export function detectFileType(head: Uint8Array): FileType {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.byteLength, FILE_TYPE_BYTES));
  const text = bytes.toString('latin1');
  if (bytes.length === 0) return other('The file is empty', 'send the bytes of an image');
  const format = imageFormats.find(([, matches]) => matches(text, bytes))?.[0];
  if (format !== undefined) return { kind: 'image', format };
  // The signature of PNG is made to break when a transfer changes line ends or drops the eighth bit.
  if (text.startsWith(pngSignature) || text.slice(8, 24).includes('IHDR')) {
    return { kind: 'damaged', message: 'PNG: its header is damaged, as by a transfer that changed line ends' };
  }
  const known = otherTypes.find(([matches]) => matches(text, bytes));
  if (known) return other(`The file is ${known[1]}`, known[2]);
  return other('The file is of an unknown type', 'send an image of one of these types');
}

function other(found: string, advice: string): FileType {
  return { kind: 'other', message: `${found}: ${advice}. ${accepted}` };
}

type Matches = (text: string, bytes: Buffer) => boolean;

const pngSignature = '\x89PNG\r\n\x1a\n';
// The last two are BigTIFF, for files above 4 GiB: libtiff reads both alike.
const tiffSignatures = ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'];

const imageFormats: readonly (readonly [ImageFormat, Matches])[] = [
  ['png', (text) => text.startsWith(`${pngSignature}\0\0\0\x0dIHDR`)],
  ['jpeg', (text) => text.startsWith('\xff\xd8\xff')],
  ['webp', (text) => text.startsWith('RIFF') && text.startsWith('WEBP', 8)],
  ['gif', (text) => /^GIF8[79]a/.test(text)],
  ['tiff', (text) => tiffSignatures.some((signature) => text.startsWith(signature))],
  // avis: an image sequence, which holds a still image, too.
  ['avif', (_, bytes) => brandsOf(bytes).some((brand) => brand === 'avif' || brand === 'avis')],
];

const heicBrands = ['heic', 'heix', 'hevc', 'hevx', 'heim', 'heis', 'mif1', 'msf1'];
const asJpeg = 'convert it to JPEG or PNG first';

const otherTypes: readonly (readonly [Matches, found: string, advice: string])[] = [
  [
    (_, bytes) => brandsOf(bytes).some((brand) => heicBrands.includes(brand)),
    'a HEIC image',
    'HEVC is not decoded for its patents; convert it to JPEG (an iPhone does so under Settings, Camera, Most Compatible)',
  ],
  [(_, bytes) => brandsOf(bytes).length > 0, 'a video', 'send a picture of it'],
  [(text) => text.startsWith('%PDF-'), 'a PDF already', 'it needs no conversion'],
  [(text) => /<svg[\s/>]/i.test(text), 'an SVG drawing', 'draw it to a PNG of the wanted size first'],
  [(text) => /^(\xef\xbb\xbf)?\s*<\?xml/i.test(text), 'an XML file, perhaps SVG', 'draw it to a PNG first'],
  [(text) => /^(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)/i.test(text), 'an HTML page', 'send the image itself'],
  [(text) => text.startsWith(`${pngSignature}\0\0\0\x04CgBI`), "a PNG in Apple's private CgBI form", asJpeg],
  [(text) => text.startsWith('\0\0\0\x0cJXL \r\n\x87\n') || text.startsWith('\xff\x0a'), 'a JPEG XL image', asJpeg],
  [(text) => text.startsWith('\0\0\0\x0cjP  ') || text.startsWith('\xff\x4f\xff\x51'), 'a JPEG 2000 image', asJpeg],
  [(text) => text.startsWith('BM') && text.slice(6, 10) === '\0\0\0\0', 'a BMP image', asJpeg],
  [(text) => text.startsWith('8BPS'), 'a Photoshop document', asJpeg],
  [(text) => text.startsWith('\0\0\x01\0'), 'an icon', asJpeg],
  [(text) => text.startsWith('%!PS') || text.startsWith('\xc5\xd0\xd3\xc6'), 'a PostScript file', asJpeg],
  [(text) => text.startsWith('PK\x03\x04'), 'a ZIP archive or an Office document', 'send the images in it'],
  [(text) => text.startsWith('\x1f\x8b'), 'a gzip archive', 'send it unpacked'],
  [
    (_, bytes) => bytes.every((byte) => byte >= 32 || (byte >= 9 && byte <= 13)),
    'text',
    'send the bytes of an image (with curl: --data-binary @FILE, with the @)',
  ],
];

/** The brands of an ISO media file: the major one at 8, the compatible ones from 16 to the end of its first box. */
function brandsOf(bytes: Buffer): string[] {
  if (bytes.length < 12 || bytes.toString('latin1', 4, 8) !== 'ftyp') return [];
  const end = Math.min(bytes.readUInt32BE(0), bytes.length);
  const brands = [bytes.toString('latin1', 8, 12)];
  for (let at = 16; at + 4 <= end; at += 4) brands.push(bytes.toString('latin1', at, at + 4));
  return brands;
}
