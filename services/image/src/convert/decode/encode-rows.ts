import zlib from 'node:zlib';
import { BandDeflater, tuning, type DeflateTuning } from '../deflate/band-deflater.ts';

/** A decoded picture in memory: rows of interleaved samples without filters, 16-bit samples high byte first. */
export interface Raster {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly sampleBytes: 1 | 2;
}

/** Which samples of each pixel are meant: all of a colour picture's, or the alpha behind them. */
export interface Samples {
  readonly from: number;
  readonly count: number;
}

// PNG's row filters that are used here.
const none = 0;
const average = 3;
type Filter = typeof none | typeof average;

const bandBytes = 1 << 20;

/**
 * Filters and deflates some of a picture's samples, as PDF's FlateDecode with a PNG predictor reads them. Photos are
 * filtered, and coded byte by byte or with their runs; flat art is left as it is and searched for repeats: a probe of
 * eight bands decides.
 */
export async function deflateRows(
  raster: Raster,
  samples: Samples,
  atOnce: number,
  write: (bytes: Buffer) => Promise<void>,
): Promise<void> {
  const rowBytes = raster.width * samples.count * raster.sampleBytes;
  const rowsPerBand = Math.max(1, Math.floor(bandBytes / rowBytes));
  const { filter, deflate } = chooseWay(raster, samples, rowsPerBand);
  const deflater = new BandDeflater(deflate, atOnce, write);
  for (let row = 0; row < raster.height; row += rowsPerBand) {
    await deflater.add(filterRows(raster, samples, row, Math.min(raster.height, row + rowsPerBand), filter));
  }
  await deflater.end();
}

function chooseWay(
  raster: Raster,
  samples: Samples,
  rowsPerBand: number,
): { readonly filter: Filter; readonly deflate: DeflateTuning } {
  const probes = 8;
  // Of a small picture no more than a quarter, or the probe would cost more than the picture.
  const probeRows = Math.max(1, Math.ceil(Math.min(rowsPerBand / 16, raster.height / (4 * probes))));
  const filtered: Buffer[] = [];
  const plain: Buffer[] = [];
  for (let probe = 0; probe < probes; probe++) {
    const row = Math.floor((raster.height * (probe + 0.5)) / probes);
    const end = Math.min(raster.height, row + probeRows);
    filtered.push(filterRows(raster, samples, row, end, average));
    plain.push(filterRows(raster, samples, row, end, none));
  }
  // Joined, because setting up a deflate costs a small picture more than the deflating.
  const sizeOf = (rows: readonly Buffer[], how: DeflateTuning): number =>
    zlib.deflateSync(Buffer.concat(rows), how).length;
  const [grain, noise] = [sizeOf(filtered, tuning.grain), sizeOf(filtered, tuning.noise)];
  const repeats = sizeOf(plain, tuning.repeats);
  // Each is faster than the next by a good part, so it may lose a little.
  if (Math.min(grain, noise) >= repeats * 1.1) return { filter: none, deflate: tuning.repeats };
  return { filter: average, deflate: grain <= noise * 1.02 ? tuning.grain : tuning.noise };
}

/** Rows `from` to `to` of the samples, each behind its filter byte. */
export function filterRows(raster: Raster, samples: Samples, from: number, to: number, filter: Filter): Buffer {
  const { width, channels, sampleBytes } = raster;
  const pixelBytes = channels * sampleBytes;
  const count = samples.count * sampleBytes;
  const rows = Buffer.allocUnsafeSlow((width * count + 1) * (to - from));
  let at = 0;
  for (let y = from; y < to; y++) {
    const row = y * width * pixelBytes + samples.from * sampleBytes;
    rows[at++] = filter;
    if (filter === none) at = copyRow(raster.data, row, width, pixelBytes, count, rows, at);
    else at = averageRow(raster.data, row, y === 0 ? 0 : width * pixelBytes, width, pixelBytes, count, rows, at);
  }
  return rows;
}

function copyRow(
  data: Buffer,
  row: number,
  width: number,
  pixelBytes: number,
  count: number,
  out: Buffer,
  at: number,
): number {
  if (count === pixelBytes) return at + data.copy(out, at, row, row + width * pixelBytes);
  for (let pixel = row; pixel < row + width * pixelBytes; pixel += pixelBytes) {
    for (let k = 0; k < count; k++) out[at++] = data[pixel + k] as number;
  }
  return at;
}

// Each byte less the mean of the one before it and the one above it. `stride` is 0 in the first row, which has no row
// above it: the byte itself is not its own neighbour there, so it counts as 0.
function averageRow(
  data: Buffer,
  row: number,
  stride: number,
  width: number,
  pixelBytes: number,
  count: number,
  out: Buffer,
  at: number,
): number {
  const top = stride === 0;
  for (let k = 0; k < count; k++) {
    const above = top ? 0 : (data[row + k - stride] as number);
    out[at++] = (data[row + k] as number) - (above >> 1);
  }
  const end = row + width * pixelBytes;
  if (count === pixelBytes && !top) {
    // All samples of a row with one above it: no picking and no asking, which is where the time of photos goes.
    for (let i = row + pixelBytes; i < end; i++) {
      out[at++] = (data[i] as number) - (((data[i - pixelBytes] as number) + (data[i - stride] as number)) >> 1);
    }
    return at;
  }
  for (let pixel = row + pixelBytes; pixel < end; pixel += pixelBytes) {
    for (let k = 0; k < count; k++) {
      const i = pixel + k;
      const above = top ? 0 : (data[i - stride] as number);
      out[at++] = (data[i] as number) - (((data[i - pixelBytes] as number) + above) >> 1);
    }
  }
  return at;
}

/** A gray picture of nothing but black and white, as one bit a pixel; undefined for any other. */
export function packBilevel(raster: Raster): Raster | undefined {
  const { data, width, height } = raster;
  if (raster.channels !== 1 || raster.sampleBytes !== 1) return undefined;
  for (let i = 0; i < data.length; i++) if (data[i] !== 0 && data[i] !== 255) return undefined;
  const stride = Math.ceil(width / 8);
  const packed = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] === 255)
        packed[y * stride + (x >> 3)] = (packed[y * stride + (x >> 3)] as number) | (128 >> (x & 7));
    }
  }
  return { data: packed, width: stride, height, channels: 1, sampleBytes: 1 };
}
