import zlib from 'node:zlib';
import { CorruptImageError } from '../errors.ts';
import { readExif } from '../metadata/exif.ts';
import { physDensity, preferredDensity, type StatedDensity } from '../metadata/density.ts';
import type { Orientation } from '../page-layout.ts';
import type { ByteReader } from '../byte-reader.ts';
import { AncillaryBytes } from './ancillary-bytes.ts';
import { checkCrc, chunkHeader, isCritical, type ChunkHeader } from './chunk-header.ts';
import { colourType, pngHeaderBytes, readPngHeader, type PngHeader } from './png-header.ts';
import { readChunk } from './read-chunk.ts';

/** Everything of a PNG that comes before its pixels and bears on how they are drawn. */
export interface PngMetadata {
  /** Signature and IHDR as they stand in the file. */
  readonly head: Buffer;
  readonly header: PngHeader;
  readonly palette?: Buffer;
  readonly transparency?: Buffer;
  readonly iccp?: Buffer;
  /** Colours of a pixel that a profile has to describe: those of the palette, where there is one. */
  readonly profileComponents: 1 | 3;
  readonly density?: StatedDensity;
  readonly orientation: Orientation;
  /** What was counted so far: there may be more behind the pixels. */
  readonly ancillary: AncillaryBytes;
  /** The length field of the first IDAT: the reader stands at its data. */
  readonly firstIdatBytes: number;
}

// Chunks that are kept; the most their data can be. Anything else is checked and dropped as it passes.
const keptChunks: Record<string, number> = {
  PLTE: 768,
  tRNS: 256,
  pHYs: 9,
  eXIf: 1 << 20,
  iCCP: 4 << 20,
};
const mostChunks = 10_000;

/**
 * Reads a PNG up to the data of its first IDAT, checking the CRC of every chunk on the way. Where that of a chunk
 * is wrong that does not bear on the pixels, the chunk is ignored, as libpng does.
 *
 * @throws {CorruptImageError} for anything the PNG specification does not allow before the pixels
 * @throws {ImageTooLargeError} for more text and metadata than any real file has
 */
export async function readPngMetadata(reader: ByteReader): Promise<PngMetadata> {
  const head = await reader.read(pngHeaderBytes);
  const header = readPngHeader(head);
  checkCrc(zlib.crc32(head.subarray(12, 29)), head.readUInt32BE(29), 'IHDR');

  const kept = new Map<string, Buffer>();
  const ancillary = new AncillaryBytes();
  for (let count = 0; count < mostChunks; count++) {
    const chunk = chunkHeader(await reader.read(8));
    if (chunk.type === 'IDAT') return assemble(Buffer.from(head), header, kept, ancillary, chunk.length);
    const data = await readOrSkip(reader, chunk, ancillary);
    if (!data || isIgnored(chunk.type, kept)) continue;
    checkOrder(chunk.type, kept);
    if (!kept.has(chunk.type)) kept.set(chunk.type, data);
  }
  throw new CorruptImageError('PNG: no pixels within the first 10,000 chunks');
}

/** Its data, or undefined where it is not needed. */
function readOrSkip(reader: ByteReader, chunk: ChunkHeader, ancillary: AncillaryBytes): Promise<Buffer | undefined> {
  const { type, length } = chunk;
  const most = keptChunks[type];
  if (isCritical(type)) {
    if (most === undefined) throw new CorruptImageError(`PNG: unexpected chunk ${type}`);
    if (length > most) throw new CorruptImageError(`PNG: ${type} of ${length} bytes`);
  }
  return readChunk(reader, chunk, ancillary, most !== undefined && length <= most);
}

function assemble(
  head: Buffer,
  header: PngHeader,
  kept: ReadonlyMap<string, Buffer>,
  ancillary: AncillaryBytes,
  firstIdatBytes: number,
): PngMetadata {
  const palette = kept.get('PLTE');
  const transparency = kept.get('tRNS');
  const iccp = kept.get('iCCP');
  const exif = kept.get('eXIf');
  const density = preferredDensity(physDensity(kept.get('pHYs')), exif && readExif(exif).density);
  if (header.colourType === colourType.palette) checkPalette(palette, header.bits);
  if (palette && palette.length % 3 !== 0) throw new CorruptImageError('PNG: PLTE is not a list of colours');
  const gray = header.colourType === colourType.gray || header.colourType === colourType.grayAlpha;
  return {
    head,
    header,
    profileComponents: gray ? 1 : 3,
    orientation: exif ? readExif(exif).orientation : 1,
    ancillary,
    firstIdatBytes,
    ...(palette && { palette }),
    ...(transparency && { transparency: checkTransparency(transparency, header, palette) }),
    ...(iccp && { iccp }),
    ...(density && { density }),
  };
}

// libpng, and so nearly every reader, ignores a profile behind the palette.
function isIgnored(type: string, before: ReadonlyMap<string, Buffer>): boolean {
  return type === 'iCCP' && before.has('PLTE') && !before.has('iCCP');
}

// Decoders disagree on what a misplaced chunk means, so a file that has one has no single right picture.
function checkOrder(type: string, before: ReadonlyMap<string, Buffer>): void {
  const misplaced =
    (type === 'PLTE' && (before.has('PLTE') || before.has('tRNS'))) ||
    (type === 'tRNS' && before.has('tRNS')) ||
    (type === 'iCCP' && before.has('iCCP'));
  if (misplaced) throw new CorruptImageError(`PNG: ${type} out of place`);
}

function checkPalette(palette: Buffer | undefined, bits: number): void {
  if (!palette || palette.length === 0) throw new CorruptImageError('PNG: no palette');
  if (palette.length / 3 > 1 << bits) throw new CorruptImageError('PNG: more colours than the pixels can name');
}

function checkTransparency(data: Buffer, header: PngHeader, palette: Buffer | undefined): Buffer {
  const fits = {
    [colourType.gray]: data.length === 2,
    [colourType.rgb]: data.length === 6,
    [colourType.palette]: data.length > 0 && data.length * 3 <= (palette?.length ?? 0),
    [colourType.grayAlpha]: false,
    [colourType.rgba]: false,
  }[header.colourType];
  if (!fits) throw new CorruptImageError('PNG: tRNS does not fit the colour type');
  return data;
}
