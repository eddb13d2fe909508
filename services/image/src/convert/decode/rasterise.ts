import sharp, { type Metadata, type Sharp, type SharpOptions } from 'sharp';
import { CorruptImageError, ConversionError, ImageTooLargeError, UnsupportedImageError } from '../errors.ts';
import { firstGifFrame } from '../gif/first-frame.ts';
import { readExif } from '../metadata/exif.ts';
import { profileFor } from '../metadata/icc.ts';
import type { StatedDensity } from '../metadata/density.ts';
import type { Quality } from '../options.ts';
import type { Orientation } from '../page-layout.ts';
import { tiffPages, type TiffPage } from '../tiff/tiff-pages.ts';
import { isLossyWebp } from '../webp/is-lossy.ts';
import type { DecodedImage, DecodeRequest } from './decoder-protocol.ts';
import { deflateRows, packBilevel, type Raster } from './encode-rows.ts';
import { DamageReport } from './libvips-warnings.ts';
import { pictureOfSamples } from './tiff-samples.ts';

/** Where a decoded picture goes. */
export interface RasterOutput {
  profile(bytes: Buffer): Promise<void>;
  image(image: DecodedImage): Promise<void>;
  colour(bytes: Buffer): Promise<void>;
  alpha(bytes: Buffer): Promise<void>;
}

// JPEG counts sides in 16 bits.
const mostJpegSide = 65_000;
// Bands deflated at the same time: what two cores can use.
const bandsAtOnce = 3;

/**
 * Sets sharp up for hostile files: no loader but those of the accepted formats (SVG is refused under every file name),
 * no cache, one thread a picture.
 *
 * @throws when a build of sharp does not keep to it: such a decoder must not start
 */
export async function restrictSharp(): Promise<void> {
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({
    operation: ['Png', 'Jpeg', 'Webp', 'Tiff', 'Nsgif', 'Heif'].map((format) => `VipsForeignLoad${format}`),
  });
  sharp.cache(false);
  sharp.concurrency(1);
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>');
  const loaded = await sharp(svg)
    .metadata()
    .then(
      () => true,
      () => false,
    );
  if (loaded) throw new Error('sharp reads SVG though its loader is blocked');
}

/** Decodes a file, page by page, each as it is stored. */
export async function rasterise(input: Buffer, request: DecodeRequest, output: RasterOutput): Promise<void> {
  try {
    const file = readable(input, request);
    const pages = request.format === 'tiff' ? tiffPages(file, request.maxPages) : [undefined];
    const damage = new DamageReport();
    for (const page of pages) {
      await rasterisePage(file, request, page, output, damage);
      damage.throwIfAny();
    }
  } catch (error) {
    throw asConversionError(error, request);
  }
}

/** The file as libvips reads it. */
function readable(file: Buffer, { format }: DecodeRequest): Buffer {
  if (format === 'gif') return firstGifFrame(file);
  // libvips knows no sequence by its brand, though its library reads the still image that a sequence holds.
  if (format === 'avif' && file.toString('latin1', 8, 12) === 'avis') file.write('avif', 8, 'latin1');
  return file;
}

function open(file: Buffer, request: DecodeRequest, page: TiffPage | undefined): Sharp {
  const options: SharpOptions = {
    // libtiff and libpng warn of much that does not bear on the pixels. What does is an error, or in DamageReport.
    failOn: request.format === 'tiff' || request.format === 'png' ? 'error' : 'warning',
    limitInputPixels: request.maxPixels,
    sequentialRead: true,
    // The PDF says what the samples mean. Applied here, 16 bits would go through Display P3, and what is beyond be lost.
    ignoreIcc: true,
    ...(page && { page: page.index, pages: 1 }),
  };
  return sharp(file, options);
}

/** What a page is drawn with, beside its pixels. */
interface PageFacts {
  readonly space: 'gray' | 'rgb' | 'cmyk';
  /** Whether samples of 16 bits are kept. */
  readonly wide: boolean;
  readonly hasAlpha: boolean;
  readonly density: StatedDensity | undefined;
  readonly orientation: Orientation;
  readonly profile: Buffer | undefined;
}

async function rasterisePage(
  file: Buffer,
  request: DecodeRequest,
  page: TiffPage | undefined,
  output: RasterOutput,
  damage: DamageReport,
): Promise<void> {
  const metadata = await open(file, request, page).metadata();
  if (metadata.width * metadata.height > request.maxPixels) {
    throw new ImageTooLargeError(`${metadata.width} x ${metadata.height} pixels`);
  }
  const read = damage.watch(open(file, request, page));
  const picture = page && page.samples !== 'direct' ? await pictureOfSamples(read, page.samples) : read;
  const facts = factsOf(metadata, request, page);
  const inSpace = facts.space === 'cmyk' ? picture.pipelineColourspace('cmyk') : picture;
  const sized = resized(inSpace, request, facts.orientation);
  if (facts.profile) await output.profile(facts.profile);
  const fitsJpeg = Math.max(metadata.width, metadata.height) <= mostJpegSide;
  const { jpeg, flatten } = codingOf(request.quality, isLossy(file, request));
  if (jpeg && fitsJpeg) await encodeJpeg(sized, facts, flatten, jpeg, output);
  else
    await encodeRows(flatten && facts.space !== 'cmyk' ? sized.flatten({ background: '#fff' }) : sized, facts, output);
}

function factsOf(metadata: Metadata, request: DecodeRequest, page: TiffPage | undefined): PageFacts {
  const isGray = metadata.space === 'b-w' || metadata.space === 'grey16';
  const space = isGray ? 'gray' : metadata.space === 'cmyk' ? 'cmyk' : 'rgb';
  const exif = metadata.exif && readExif(withoutExifHeader(metadata.exif));
  // A profile of CIELab describes samples that are not kept.
  const components = { gray: 1, rgb: 3, cmyk: 4 }[space];
  const profile =
    metadata.icc && metadata.space !== 'labs' && profileFor(metadata.icc, components) ? metadata.icc : undefined;
  return {
    space,
    wide: page?.samples === 'gray-float' || page?.samples === 'gray-uint32' || metadata.depth === 'ushort',
    hasAlpha: metadata.hasAlpha,
    density: page ? page.density : exif?.density,
    orientation: request.orientation ?? orientationOf(metadata),
    profile,
  };
}

function orientationOf({ orientation = 1 }: Metadata): Orientation {
  return orientation >= 1 && orientation <= 8 ? (orientation as Orientation) : 1;
}

// As JPEG has it in front; other formats have it, too, or not.
function withoutExifHeader(block: Buffer): Buffer {
  return block.toString('latin1', 0, 6) === 'Exif\0\0' ? block.subarray(6) : block;
}

function resized(picture: Sharp, { maxWidth, maxHeight }: DecodeRequest, orientation: Orientation): Sharp {
  if (maxWidth === undefined && maxHeight === undefined) return picture;
  const [width, height] = orientation > 4 ? [maxHeight, maxWidth] : [maxWidth, maxHeight];
  return picture.resize({ width, height, fit: 'inside', withoutEnlargement: true });
}

/** Whether the source has lost detail to compression already, so that JPEG 90 costs little and saves much. */
function isLossy(file: Buffer, { format }: DecodeRequest): boolean {
  return format === 'avif' || format === 'jpeg' || (format === 'webp' && isLossyWebp(file));
}

/** JPEG quality and chroma, or undefined to keep every pixel as it is. */
interface Coding {
  readonly jpeg: { readonly quality: number; readonly fullChroma: boolean } | undefined;
  /** Lay what is transparent over white instead of keeping the alpha. */
  readonly flatten: boolean;
}

const lossless: Coding = { jpeg: undefined, flatten: false };
const lossyAlready: Coding = { jpeg: { quality: 90, fullChroma: false }, flatten: false };

function codingOf(quality: Quality, lossySource: boolean): Coding {
  const codings: Record<Quality, Coding> = {
    low: { jpeg: { quality: 80, fullChroma: false }, flatten: true },
    high: { jpeg: { quality: 90, fullChroma: true }, flatten: true },
    auto: lossySource ? lossyAlready : lossless,
    lossless,
  };
  return codings[quality];
}

async function encodeJpeg(
  picture: Sharp,
  facts: PageFacts,
  flatten: boolean,
  jpeg: { readonly quality: number; readonly fullChroma: boolean },
  output: RasterOutput,
): Promise<void> {
  const { space } = facts;
  const keepAlpha = facts.hasAlpha && !flatten && space !== 'cmyk';
  const removeAlpha = keepAlpha || space === 'cmyk';
  const colour = removeAlpha ? picture.clone().removeAlpha() : picture.clone().flatten({ background: '#fff' });
  const { data, info } = await colour
    .toColourspace({ gray: 'b-w', rgb: 'srgb', cmyk: 'cmyk' }[space])
    // Optimised Huffman tables would keep the coefficients of the whole picture: six times the memory for 1-5 %.
    .jpeg({ quality: jpeg.quality, chromaSubsampling: jpeg.fullChroma ? '4:4:4' : '4:2:0', optimiseCoding: false })
    .toBuffer({ resolveWithObject: true });
  const alpha = keepAlpha ? await alphaOf(picture) : undefined;
  const opaque = alpha?.data.every((sample) => sample === 255) ?? true;
  await output.image({
    width: info.width,
    height: info.height,
    bits: 8,
    colour: info.channels === 1 ? 'gray' : space,
    encoding: 'jpeg',
    alpha: !opaque,
    ...placementOf(facts),
  });
  await output.colour(data);
  if (alpha && !opaque) await deflateRows(alpha, { from: 0, count: 1 }, bandsAtOnce, (bytes) => output.alpha(bytes));
}

function placementOf({
  density,
  orientation,
  profile,
}: PageFacts): Pick<DecodedImage, 'density' | 'orientation' | 'profileBytes'> {
  return { density, orientation, profileBytes: profile?.length ?? 0 };
}

async function alphaOf(picture: Sharp): Promise<Raster> {
  const { data, info } = await picture
    .clone()
    .toColourspace('srgb')
    .extractChannel('alpha')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels, sampleBytes: 1 };
}

async function encodeRows(picture: Sharp, facts: PageFacts, output: RasterOutput): Promise<void> {
  const { space, wide, hasAlpha } = facts;
  const gray = space === 'gray';
  const raster = await decode(picture, gray && !hasAlpha ? 'gray' : gray ? 'rgb' : space, wide);
  const placement = placementOf(facts);
  const bilevel = packBilevel(raster);
  if (bilevel) {
    await output.image({ ...sizeOf(raster), bits: 1, colour: 'gray', encoding: 'rows', alpha: false, ...placement });
    return deflateRows(bilevel, { from: 0, count: 1 }, bandsAtOnce, (bytes) => output.colour(bytes));
  }
  const colour = gray || raster.channels < 3 ? 'gray' : space;
  const colours = { gray: 1, rgb: 3, cmyk: 4 }[colour];
  // Of RGB, one more sample is alpha. More than one are of a meaning that is not known, and CMYK is never transparent.
  const masked = colour !== 'cmyk' && (raster.channels === 4 || raster.channels === 2);
  const alpha = masked && !isOpaque(raster);
  const bits = wide ? 16 : 8;
  await output.image({ ...sizeOf(raster), bits, colour, encoding: 'rows', alpha, ...placement });
  await deflateRows(raster, { from: 0, count: colours }, bandsAtOnce, (bytes) => output.colour(bytes));
  if (!alpha) return;
  await deflateRows(raster, { from: raster.channels - 1, count: 1 }, bandsAtOnce, (bytes) => output.alpha(bytes));
}

const sizeOf = ({ width, height }: Raster): { width: number; height: number } => ({ width, height });

const spaces = {
  gray: ['b-w', 'grey16'],
  rgb: ['srgb', 'rgb16'],
  cmyk: ['cmyk', 'cmyk'],
} as const;

// sharp's raw output of a gray picture silently drops its alpha. So gray with alpha is asked for as RGB, of which one
// of the three equal samples is taken.
async function decode(picture: Sharp, space: PageFacts['space'], wide: boolean): Promise<Raster> {
  const { data, info } = await picture
    .toColourspace(spaces[space][wide ? 1 : 0])
    .raw({ depth: wide ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return {
    // libvips has 16-bit samples in the machine's order, PDF wants the high byte first.
    data: wide ? data.swap16() : data,
    width: info.width,
    height: info.height,
    channels: info.channels,
    sampleBytes: wide ? 2 : 1,
  };
}

function isOpaque({ data, channels, sampleBytes }: Raster): boolean {
  const pixelBytes = channels * sampleBytes;
  for (let at = pixelBytes - sampleBytes; at < data.length; at += pixelBytes) {
    if (data[at] !== 255 || (sampleBytes === 2 && data[at + 1] !== 255)) return false;
  }
  return true;
}

function asConversionError(error: unknown, { format }: DecodeRequest): ConversionError {
  if (error instanceof ConversionError) return error;
  const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  // libvips has no error codes; these are the texts of its errors for a header above the pixel limit.
  if (/exceeds pixel limit|too large|exceeds.*limit/i.test(message))
    return new ImageTooLargeError(message, { cause: error });
  // And these for a file that a library understands and cannot decode. Of a TIFF that has been judged before: what is not
  // supported there is a damaged code in a fax.
  if (
    format !== 'tiff' &&
    /Unsupported JPEG|not supported|not configured|not implemented|no known route|Unsupported feature/i.test(message)
  ) {
    return new UnsupportedImageError(`the file is of a form that is not decoded: ${message}`, { cause: error });
  }
  return new CorruptImageError(message, { cause: error });
}
