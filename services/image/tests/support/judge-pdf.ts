import type { DecoderPool } from '../../src/convert/decode/decoder-pool.ts';
import { largestDifference, sharpCmyk, sharpReading } from './compare.ts';
import { convertBytes, type Converted } from './convert-bytes.ts';
import { readPictures } from './pdf-reader.ts';
import { renderers, type DocumentJudges, type Renderer } from './renderers.ts';

/** How right the PDF of one file is. All differences are in levels of 255, 0 for none. */
export interface Judgement {
  readonly path: Converted['path'];
  /** Of any sample, alpha included, between the picture inside the PDF and sharp's reading of the file. */
  readonly samples: number;
  /** Of any pixel, over white, between what a renderer draws and sharp's reading. Of CMYK, MuPDF's alone, in CMYK. */
  readonly drawn: Readonly<Partial<Record<Renderer, number>>>;
  /** What `drawn` may be: alpha between nothing and full is blended, and each renderer rounds its own way. */
  readonly rounding: 0 | 1;
  /** What qpdf finds wrong. */
  readonly problems: string;
}

/** Whether a judgement finds nothing at all. */
export function isRight({ samples, drawn, rounding, problems }: Judgement): boolean {
  return samples === 0 && Object.values(drawn).every((difference) => difference <= rounding) && problems === '';
}

/**
 * Converts a file without loss and holds the PDF against sharp's reading of the same bytes: the first picture in it
 * sample for sample, and pixel for pixel as others draw the page.
 */
export async function judge(file: Buffer, decoders: DecoderPool, judges: DocumentJudges): Promise<Judgement> {
  const { pdf, path } = await convertBytes(decoders, file, { quality: 'lossless' });
  const read = await sharpReading(file);
  const [picture] = await readPictures(pdf);
  const seen = overWhite(read.rgba);
  const cmyk = await sharpCmyk(file);
  const drawnBy = async (renderer: Renderer): Promise<readonly [Renderer, number]> => {
    const drawn = await judges.draw(renderer, pdf, read.width, read.height, cmyk ? 'cmyk' : 'rgb');
    return [renderer, largestOf(drawn, cmyk ?? seen.rgb)];
  };
  const drawn = Object.fromEntries(await Promise.all((cmyk ? (['mupdf'] as const) : renderers).map(drawnBy)));
  return {
    path,
    samples: picture ? largestDifference(picture, read) : Infinity,
    drawn,
    rounding: seen.blended ? 1 : 0,
    problems: await judges.problems(pdf),
  };
}

function overWhite(rgba: Buffer): { rgb: Buffer; blended: boolean } {
  const rgb = Buffer.alloc((rgba.length / 4) * 3);
  let blended = false;
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    const alpha = rgba[from + 3] as number;
    blended ||= alpha > 0 && alpha < 255;
    for (let k = 0; k < 3; k++) rgb[to + k] = Math.round(((rgba[from + k] as number) * alpha) / 255) + 255 - alpha;
  }
  return { rgb, blended };
}

function largestOf(one: Buffer, other: Buffer): number {
  if (one.length !== other.length) return Infinity;
  let largest = 0;
  for (let at = 0; at < one.length; at++) {
    largest = Math.max(largest, Math.abs((one[at] as number) - (other[at] as number)));
  }
  return largest;
}
