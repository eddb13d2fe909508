import { colourType, type PngHeader } from './png-header.ts';

/** How a PNG without an alpha channel is transparent. */
export type Transparency =
  | { readonly kind: 'none' }
  /** Pixels of one colour vanish: PDF says this exactly, as lowest and highest sample of each component. */
  | { readonly kind: 'key'; readonly ranges: readonly number[] }
  /** Each palette entry has an alpha of its own: the picture needs a mask. */
  | { readonly kind: 'mask'; readonly alphaOf: Uint8Array };

/** What a tRNS chunk means. */
export function transparencyOf(header: PngHeader, chunk: Buffer | undefined): Transparency {
  if (!chunk) return { kind: 'none' };
  if (header.colourType !== colourType.palette) {
    const ranges: number[] = [];
    // Only the low bits of the 16 count: a decoder compares samples, not fields.
    const mask = (1 << header.bits) - 1;
    for (let at = 0; at < chunk.length; at += 2) {
      const sample = chunk.readUInt16BE(at) & mask;
      ranges.push(sample, sample);
    }
    return { kind: 'key', ranges };
  }
  return transparencyOfPalette(chunk);
}

function transparencyOfPalette(chunk: Buffer): Transparency {
  const opaque = (alpha: number): boolean => alpha === 255;
  if (chunk.every(opaque)) return { kind: 'none' };
  const first = chunk.findIndex((alpha) => alpha === 0);
  const last = chunk.lastIndexOf(0);
  const oneRun = first >= 0 && chunk.every((alpha, index) => alpha === (index >= first && index <= last ? 0 : 255));
  if (oneRun) return { kind: 'key', ranges: [first, last] };
  const alphaOf = new Uint8Array(256).fill(255);
  alphaOf.set(chunk);
  return { kind: 'mask', alphaOf };
}
