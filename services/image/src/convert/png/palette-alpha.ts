import { CorruptImageError } from '../errors.ts';
import type { PngHeader } from './png-header.ts';
import type { RowBand } from './row-bands.ts';

/**
 * The alpha of a palette picture whose palette entries are transparent to different degrees: rows are unfiltered, and
 * each index becomes its alpha. Gives rows of 8-bit alpha behind PNG's filter 0.
 */
export class PaletteAlpha {
  readonly #header: PngHeader;
  readonly #alphaOf: Uint8Array;
  #above: Buffer;
  #row: Buffer;

  constructor(header: PngHeader, alphaOf: Uint8Array) {
    this.#header = header;
    this.#alphaOf = alphaOf;
    this.#above = Buffer.alloc(header.rowBytes);
    this.#row = Buffer.alloc(header.rowBytes);
  }

  rows({ rows, count }: RowBand): Buffer {
    const { width, rowBytes, bits } = this.#header;
    const alpha = Buffer.allocUnsafeSlow(count * (width + 1));
    const mask = (1 << bits) - 1;
    let out = 0;
    for (let y = 0; y < count; y++) {
      const from = y * (rowBytes + 1);
      this.#unfilter(rows[from] as number, rows, from + 1);
      alpha[out++] = 0;
      const row = this.#row;
      for (let x = 0, bit = 0; x < width; x++, bit += bits) {
        const index = ((row[bit >> 3] as number) >> (8 - bits - (bit & 7))) & mask;
        alpha[out++] = this.#alphaOf[index] as number;
      }
      [this.#above, this.#row] = [this.#row, this.#above];
    }
    return alpha;
  }

  // Pixels of up to 8 bits: the "pixel before" of the filters is the byte before.
  #unfilter(filter: number, from: Buffer, at: number): void {
    const [row, above] = [this.#row, this.#above];
    const length = row.length;
    let left = 0;
    let corner = 0;
    for (let i = 0; i < length; i++) {
      const up = above[i] as number;
      left = ((from[at + i] as number) + predict(filter, left, up, corner)) & 255;
      row[i] = left;
      corner = up;
    }
  }
}

function predict(filter: number, left: number, up: number, corner: number): number {
  switch (filter) {
    case 0:
      return 0;
    case 1:
      return left;
    case 2:
      return up;
    case 3:
      return (left + up) >> 1;
    case 4:
      return paeth(left, up, corner);
    default:
      throw new CorruptImageError('PNG: unknown row filter');
  }
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
