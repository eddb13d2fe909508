import type { DrawnPicture, PageJob } from '../page-job.ts';
import { BandDeflater, tuning } from '../deflate/band-deflater.ts';
import { BufferPool } from '../deflate/buffer-pool.ts';
import { ImageTooLargeError } from '../errors.ts';
import { coloursOf, profileOfIccp } from '../metadata/icc.ts';
import { fits } from '../options.ts';
import { pageDensity } from '../metadata/density.ts';
import { orientedSize } from '../page-layout.ts';
import type { PagePicture } from '../pdf/document.ts';
import type { PdfImage } from '../pdf/image-object.ts';
import { writeAlpha, type AlphaRows } from './alpha-mask.ts';
import { colourType, pngHeaderBytes, readPngHeader, type PngHeader } from './png-header.ts';
import { readIdat } from './idat.ts';
import { IdatCopy } from './idat-copy.ts';
import { inflatePixels } from './inflate-pixels.ts';
import { readPngMetadata, type PngMetadata } from './png-metadata.ts';
import { PaletteAlpha } from './palette-alpha.ts';
import { rowBands } from './row-bands.ts';
import { AlphaSplitter } from './alpha-splitter.ts';
import { transparencyOf, type Transparency } from './transparency.ts';

// Rows are handled a band at a time: large enough for zlib to be at its best, small enough to keep the loop free.
const bandBytes = 1024 * 1024;
const bandsAtOnce = 3;
// A single row longer than this could not be held in the memory that is meant for a band.
const mostRowBytes = 32 * 2 ** 20;
// Above this, a picture is text or flat art, and JPEG would make it hardly smaller, or larger.
const flatRatio = 16;

/**
 * Draws a PNG without decoding it. Its zlib stream of filtered rows is what PDF's FlateDecode reads, so it is copied,
 * and inflated beside it only to prove that it is whole. With alpha, rows are parted into colour and mask.
 *
 * Undefined, with nothing drawn, when the picture is interlaced or is to be changed: then it has to be decoded.
 */
export async function drawPng(job: PageJob): Promise<DrawnPicture | undefined> {
  const header = readPngHeader(await job.reader.peek(pngHeaderBytes));
  const { limits } = job.context;
  const pixels = header.width * header.height;
  const decode = header.interlaced || wantsJpeg(job, header);
  if (pixels > (decode ? limits.maxDecodedPixels : limits.maxCopiedPixels)) {
    throw new ImageTooLargeError(`${header.width} x ${header.height} pixels`);
  }
  if (decode) return undefined;

  const metadata = await readPngMetadata(job.reader);
  const { options } = job;
  if (!fits(orientedSize(header, metadata.orientation), options)) {
    if (pixels > limits.maxDecodedPixels) throw new ImageTooLargeError(`${header.width} x ${header.height} pixels`);
    return undefined;
  }
  const transparency = transparencyOf(header, metadata.transparency);
  const masked = header.hasAlpha || transparency.kind === 'mask';
  if (masked && header.rowBytes > mostRowBytes) throw new ImageTooLargeError(`rows of ${header.width} pixels`);

  const page = await place(job, metadata, transparency, masked);
  if (header.hasAlpha) await splitPixels(job, metadata, page);
  else if (transparency.kind === 'mask') await copyWithMask(job, metadata, transparency.alphaOf, page);
  else await copyPixels(job, metadata, page);
  const path = masked ? 'split' : 'passthrough';
  return { path, format: 'png', ...orientedSize(header, metadata.orientation) };
}

function wantsJpeg({ options, source }: PageJob, header: PngHeader): boolean {
  if (options.quality !== 'low' && options.quality !== 'high') return false;
  return header.bits >= 8 && header.inflatedBytes / source.sizeBytes <= flatRatio;
}

async function place(
  job: PageJob,
  metadata: PngMetadata,
  transparency: Transparency,
  masked: boolean,
): Promise<PagePicture> {
  const { header, orientation, iccp } = metadata;
  const { stripMetadata } = job.options;
  const profile = iccp && (await profileOfIccp(iccp, metadata.profileComponents));
  const colours = header.colourType === colourType.rgb || header.colourType === colourType.rgba ? 3 : 1;
  const image: PdfImage = {
    width: header.width,
    height: header.height,
    bits: header.bits,
    colour:
      metadata.palette && header.colourType === colourType.palette
        ? { palette: wholePalette(metadata.palette, header.bits) }
        : colours === 3
          ? 'DeviceRGB'
          : 'DeviceGray',
    filter: 'FlateDecode',
    predictorColours: colours,
    profile: profile && stripMetadata ? await coloursOf(profile) : profile,
    colourKey: transparency.kind === 'key' ? transparency.ranges : undefined,
  };
  const density = pageDensity(stripMetadata ? undefined : metadata.density);
  return job.pages.place({ image, density, orientation, masked });
}

// Pixels may name colours that the palette lacks. Decoders draw them black; PDF would draw its last colour.
function wholePalette(palette: Buffer, bits: number): Buffer {
  const whole = Buffer.alloc(3 << bits);
  palette.copy(whole);
  return whole;
}

async function copyPixels(job: PageJob, metadata: PngMetadata, { picture }: PagePicture): Promise<void> {
  const copy = new IdatCopy((block) => picture.write(block));
  for await (const _ of inflatePixels(metadata.header, copy.taken(readIdat(job.reader, metadata)), copy)) {
    // Inflated only to prove that it can be.
  }
  await picture.end();
}

async function copyWithMask(
  job: PageJob,
  metadata: PngMetadata,
  alphaOf: Uint8Array,
  page: PagePicture,
): Promise<void> {
  const { header } = metadata;
  await writeAlpha(job, metadata, page, 8, async (blocks, rows) => {
    const palette = new PaletteAlpha(header, alphaOf);
    const copy = new IdatCopy((block) => page.picture.write(block));
    const pieces = blocks
      ? inflatePixels(header, blocks)
      : inflatePixels(header, copy.taken(readIdat(job.reader, metadata)), copy);
    for await (const band of rowBands(header, pieces, bandBytes)) {
      await rows.add(palette.rows(band));
    }
    if (!blocks) await page.picture.end();
    return { opaque: false };
  });
}

async function splitPixels(job: PageJob, metadata: PngMetadata, page: PagePicture): Promise<void> {
  const { header } = metadata;
  const noisy = header.inflatedBytes / job.source.sizeBytes <= 8;
  await writeAlpha(job, metadata, page, header.bits, async (blocks, alphaRows: AlphaRows) => {
    const splitter = new AlphaSplitter(header);
    const [colours, alphas] = [new BufferPool(), new BufferPool()];
    const colourRows = new BandDeflater(noisy ? tuning.noise : tuning.repeats, bandsAtOnce, (bytes) =>
      page.picture.write(bytes),
    );
    const pieces = inflatePixels(header, blocks ?? readIdat(job.reader, metadata));
    for await (const band of rowBands(header, pieces, bandBytes)) {
      const colour = colours.take(band.count * splitter.colourRowBytes);
      const alpha = alphas.take(band.count * splitter.alphaRowBytes);
      splitter.split(band.rows, band.count, colour, alpha);
      if (blocks) colours.give(colour);
      else await colourRows.add(colour, () => colours.give(colour));
      await alphaRows.add(alpha, () => alphas.give(alpha));
    }
    if (!blocks) {
      await colourRows.end();
      await page.picture.end();
    }
    colours.close();
    return { opaque: splitter.opaque };
  });
}
