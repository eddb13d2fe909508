import sharp, { type Metadata, type Sharp, type SharpOptions } from 'sharp';
import { CorruptImageError, ImageTooLargeError, type ConversionError } from '../errors.ts';
import { DamageReport } from './jpeg-damage.ts';
import type { DecodedImage, DecodeRequest } from './decoder-protocol.ts';
import { deflateRows, packBilevel, type Raster } from './encode-rows.ts';

/** Where a decoded picture goes. */
export interface RasterOutput {
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

/** Decodes a file, page by page, each upright. */
export async function rasterise(file: Buffer, request: DecodeRequest, output: RasterOutput): Promise<void> {
  try {
    const pages = request.format === 'tiff' ? ((await open(file, request, 0).metadata()).pages ?? 1) : 1;
    if (pages > request.maxPages)
      throw new ImageTooLargeError(`${pages} pages in one file, where ${request.maxPages} are left`);
    const damage = new DamageReport();
    for (let page = 0; page < pages; page++) {
      await rasterisePage(file, request, page, output, damage);
      damage.throwIfAny();
    }
  } catch (error) {
    throw asConversionError(error);
  }
}

function open(file: Buffer, request: DecodeRequest, page: number): Sharp {
  const options: SharpOptions = {
    failOn: 'warning',
    limitInputPixels: request.maxPixels,
    sequentialRead: true,
    ...(request.format === 'tiff' && { page, pages: 1 }),
  };
  return sharp(file, options);
}

async function rasterisePage(
  file: Buffer,
  request: DecodeRequest,
  page: number,
  output: RasterOutput,
  damage: DamageReport,
): Promise<void> {
  const metadata = await open(file, request, page).metadata();
  if (metadata.width * metadata.height > request.maxPixels) {
    throw new ImageTooLargeError(`${metadata.width} x ${metadata.height} pixels`);
  }
  const turned = damage.watch(open(file, request, page)).autoOrient();
  const { maxWidth, maxHeight } = request;
  const sized =
    maxWidth !== undefined || maxHeight !== undefined
      ? turned.resize({ width: maxWidth, height: maxHeight, fit: 'inside', withoutEnlargement: true })
      : turned;
  const fitsJpeg = Math.max(metadata.width, metadata.height) <= mostJpegSide;
  const density = metadata.density;
  if (request.jpeg && fitsJpeg) await encodeJpeg(sized, metadata, request, request.jpeg, density, output);
  else await encodeRows(request.flatten ? sized.flatten({ background: '#fff' }) : sized, metadata, density, output);
}

const isGray = (metadata: Metadata): boolean => metadata.space === 'b-w' || metadata.space === 'grey16';

async function encodeJpeg(
  picture: Sharp,
  metadata: Metadata,
  request: DecodeRequest,
  jpeg: { readonly quality: number; readonly fullChroma: boolean },
  density: number | undefined,
  output: RasterOutput,
): Promise<void> {
  const keepAlpha = metadata.hasAlpha && !request.flatten;
  const colour = keepAlpha ? picture.clone().removeAlpha() : picture.clone().flatten({ background: '#fff' });
  const { data, info } = await colour
    .toColourspace(isGray(metadata) ? 'b-w' : 'srgb')
    // Optimised Huffman tables would keep the coefficients of the whole picture: six times the memory for 1-5 %.
    .jpeg({ quality: jpeg.quality, chromaSubsampling: jpeg.fullChroma ? '4:4:4' : '4:2:0', optimiseCoding: false })
    .toBuffer({ resolveWithObject: true });
  const alpha = keepAlpha ? await alphaOf(picture) : undefined;
  const opaque = alpha?.data.every((sample) => sample === 255) ?? true;
  await output.image({
    width: info.width,
    height: info.height,
    bits: 8,
    colour: info.channels === 1 ? 'gray' : 'rgb',
    encoding: 'jpeg',
    alpha: !opaque,
    density,
  });
  await output.colour(data);
  if (alpha && !opaque) await deflateRows(alpha, { from: 0, count: 1 }, bandsAtOnce, (bytes) => output.alpha(bytes));
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

async function encodeRows(
  picture: Sharp,
  metadata: Metadata,
  density: number | undefined,
  output: RasterOutput,
): Promise<void> {
  const wide = metadata.depth === 'ushort';
  const gray = isGray(metadata);
  const raster = await decode(picture, gray && !metadata.hasAlpha, wide);
  const bilevel = packBilevel(raster);
  if (bilevel) {
    await output.image({ ...sizeOf(raster), bits: 1, colour: 'gray', encoding: 'rows', alpha: false, density });
    return deflateRows(bilevel, { from: 0, count: 1 }, bandsAtOnce, (bytes) => output.colour(bytes));
  }
  const hasAlpha = raster.channels === 4 || raster.channels === 2;
  const alpha = hasAlpha && !isOpaque(raster);
  const colours = gray || raster.channels < 3 ? 1 : 3;
  const bits = wide ? 16 : 8;
  const colour = colours === 1 ? 'gray' : 'rgb';
  await output.image({ ...sizeOf(raster), bits, colour, encoding: 'rows', alpha, density });
  await deflateRows(raster, { from: 0, count: colours }, bandsAtOnce, (bytes) => output.colour(bytes));
  if (!alpha) return;
  await deflateRows(raster, { from: raster.channels - 1, count: 1 }, bandsAtOnce, (bytes) => output.alpha(bytes));
}

const sizeOf = ({ width, height }: Raster): { width: number; height: number } => ({ width, height });

// sharp's raw output of a gray picture silently drops its alpha. So gray with alpha is asked for as RGB, of which one
// of the three equal samples is taken.
async function decode(picture: Sharp, gray: boolean, wide: boolean): Promise<Raster> {
  const space = gray ? (wide ? 'grey16' : 'b-w') : wide ? 'rgb16' : 'srgb';
  const { data, info } = await picture
    .toColourspace(space)
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

function asConversionError(error: unknown): ConversionError {
  if (error instanceof ImageTooLargeError || error instanceof CorruptImageError) return error;
  const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  // libvips has no error codes; these are the texts of its errors for a header above the pixel limit.
  if (/exceeds pixel limit|too large|exceeds.*limit/i.test(message))
    return new ImageTooLargeError(message, { cause: error });
  return new CorruptImageError(message, { cause: error });
}
