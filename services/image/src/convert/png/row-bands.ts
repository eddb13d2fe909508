import { release } from '../release-memory.ts';
import type { PngHeader } from './png-header.ts';

/** Some whole rows, each behind its filter byte. */
export interface RowBand {
  readonly rows: Buffer;
  readonly count: number;
}

/**
 * Gathers inflated pieces into bands of whole rows. Where a band ends depends on the picture alone, never on how its
 * bytes arrived, so the same picture always becomes the same PDF. A band's rows are valid until the next is asked for.
 */
export async function* rowBands(
  header: PngHeader,
  pieces: AsyncIterable<Buffer>,
  bandBytes: number,
): AsyncGenerator<RowBand> {
  const stride = header.rowBytes + 1;
  const rowsPerBand = Math.max(1, Math.floor(bandBytes / stride));
  let rowsLeft = header.height;
  const buffer = Buffer.allocUnsafeSlow(Math.min(rowsPerBand, rowsLeft) * stride);
  let band = buffer;
  let filled = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const taken = piece.copy(band, filled, at);
      if (taken === 0) throw new RangeError('more rows than the picture has');
      filled += taken;
      at += taken;
      if (filled < band.length) continue;
      const count = band.length / stride;
      yield { rows: band, count };
      rowsLeft -= count;
      band = buffer.subarray(0, Math.min(rowsPerBand, rowsLeft) * stride);
      filled = 0;
    }
  }
  release(buffer);
}
