import type { PngHeader } from './png-header.ts';

/**
 * Parts filtered rows of colour and alpha into filtered rows of each, without undoing the filters: they work byte by
 * byte at the distance of one pixel, so taking every alpha byte out of a row leaves a correctly filtered row, at 8 and
 * at 16 bits.
 */
export class AlphaSplitter {
  readonly #width: number;
  readonly #sampleBytes: number;
  readonly #colourBytes: number;
  #rows = 0;
  #opaque = true;

  constructor(header: PngHeader) {
    this.#width = header.width;
    this.#sampleBytes = header.bits / 8;
    this.#colourBytes = (header.channels - 1) * this.#sampleBytes;
  }

  /** Whether every pixel so far was opaque. */
  get opaque(): boolean {
    return this.#opaque;
  }

  /** Bytes of a row of colour and of one of alpha, filter bytes included. */
  get colourRowBytes(): number {
    return this.#width * this.#colourBytes + 1;
  }

  get alphaRowBytes(): number {
    return this.#width * this.#sampleBytes + 1;
  }

  /** Parts whole rows, each behind its filter byte, into buffers that have room for as many. */
  split(rows: Buffer, count: number, colour: Buffer, alpha: Buffer): void {
    const part = this.#sampleBytes === 1 && this.#colourBytes === 3 ? partRgba : partAny;
    const rowBytes = this.#width * (this.#colourBytes + this.#sampleBytes) + 1;
    const { colourRowBytes, alphaRowBytes } = this;
    for (let row = 0; row < count; row++) {
      const [from, toColour, toAlpha] = [row * rowBytes, row * colourRowBytes, row * alphaRowBytes];
      const filter = rows[from] as number;
      colour[toColour] = filter;
      alpha[toAlpha] = filter;
      part(rows, from + 1, colour, toColour + 1, alpha, toAlpha + 1, this.#width, this.#colourBytes, this.#sampleBytes);
      if (this.#opaque) this.#opaque = this.#isOpaque(alpha, toAlpha + 1, filter);
      this.#rows++;
    }
  }

  /**
   * Whether a filtered row of alpha is what a row of nothing but opaque samples filters to, the row above being opaque
   * too. Each filter subtracts a prediction: nothing, left, up, their average, or Paeth's choice of them.
   */
  #isOpaque(alpha: Buffer, at: number, filter: number): boolean {
    const top = this.#rows === 0;
    const first = [255, 255, top ? 255 : 0, top ? 255 : 128, top ? 255 : 0][filter];
    const others = [255, 0, top ? 255 : 0, top ? 128 : 0, 0][filter];
    const firstEnd = at + this.#sampleBytes;
    const end = at + this.#width * this.#sampleBytes;
    for (let i = at; i < firstEnd; i++) if (alpha[i] !== first) return false;
    for (let i = firstEnd; i < end; i++) if (alpha[i] !== others) return false;
    return true;
  }
}

// The common case on its own, because it is where the time goes.
function partRgba(
  rows: Buffer,
  from: number,
  colour: Buffer,
  toColour: number,
  alpha: Buffer,
  toAlpha: number,
  width: number,
): void {
  let [i, c, a] = [from, toColour, toAlpha];
  for (const end = from + width * 4; i < end; i += 4, c += 3, a++) {
    colour[c] = rows[i] as number;
    colour[c + 1] = rows[i + 1] as number;
    colour[c + 2] = rows[i + 2] as number;
    alpha[a] = rows[i + 3] as number;
  }
}

function partAny(
  rows: Buffer,
  from: number,
  colour: Buffer,
  toColour: number,
  alpha: Buffer,
  toAlpha: number,
  width: number,
  colourBytes: number,
  sampleBytes: number,
): void {
  let [i, c, a] = [from, toColour, toAlpha];
  for (let x = 0; x < width; x++) {
    for (let k = 0; k < colourBytes; k++) colour[c++] = rows[i++] as number;
    for (let k = 0; k < sampleBytes; k++) alpha[a++] = rows[i++] as number;
  }
}
