import type { PageJob } from '../page-job.ts';
import { BandDeflater, tuning } from '../deflate/band-deflater.ts';
import { CorruptImageError } from '../errors.ts';
import type { PagePicture } from '../pdf/document.ts';
import { ByteReader } from '../byte-reader.ts';
import { readIdat } from './idat.ts';
import { readPngMetadata, type PngMetadata } from './png-metadata.ts';

/** Takes rows of alpha behind their filter bytes. */
export interface AlphaRows {
  /** `release` is called when the rows may be overwritten. */
  add(rows: Buffer, release?: () => void): Promise<void>;
}

/**
 * Goes once through a picture's pixels. On the first pass (`blocks` is undefined) it also draws the colour; on a
 * second one it must do nothing but hand over the alpha again.
 */
export type AlphaPass = (
  blocks: AsyncIterable<Buffer> | undefined,
  rows: AlphaRows,
) => Promise<{ readonly opaque: boolean }>;

const bandsAtOnce = 2;

/**
 * Runs the pass that draws a picture, then draws its mask, or none when every pixel was opaque.
 *
 * A PDF object cannot begin before the one before it has ended, so the mask waits until the colour is written. Most
 * masks are a thousandth of their picture; one that is not is made again from a second reading instead of being held.
 */
export async function writeAlpha(
  job: PageJob,
  metadata: PngMetadata,
  { mask }: PagePicture,
  bits: number,
  pass: AlphaPass,
): Promise<void> {
  if (!mask) throw new TypeError('a picture with alpha was drawn without a mask');
  const { maxHeldAlphaBytes } = job.context.limits;
  const held: Buffer[] = [];
  let heldBytes = 0;
  const first = new BandDeflater(tuning.repeats, bandsAtOnce, (bytes) => {
    heldBytes += bytes.length;
    // A copy: the original is gone afterwards.
    if (heldBytes <= maxHeldAlphaBytes) held.push(Buffer.from(bytes));
    else held.length = 0;
    return Promise.resolve();
  });
  const { opaque } = await pass(undefined, first);
  await first.end();
  if (opaque) return mask.waive();

  const { width, height } = metadata.header;
  const stream = await mask.begin({
    width,
    height,
    bits,
    colour: 'DeviceGray',
    filter: 'FlateDecode',
    predictorColours: 1,
  });
  if (heldBytes <= maxHeldAlphaBytes) for (const bytes of held) await stream.write(bytes);
  else {
    const second = new BandDeflater(tuning.repeats, bandsAtOnce, (bytes) => stream.write(bytes));
    await secondReading(job, (blocks) => pass(blocks, second));
    await second.end();
    if (second.checksum !== first.checksum) throw new CorruptImageError('the source changed between two readings');
  }
  await stream.end();
}

async function secondReading(job: PageJob, pass: (blocks: AsyncIterable<Buffer>) => Promise<unknown>): Promise<void> {
  const reader = await ByteReader.open(job.source, job.context.limits.maxInputBytes);
  try {
    await pass(readIdat(reader, await readPngMetadata(reader)));
  } finally {
    await reader.close();
  }
}
