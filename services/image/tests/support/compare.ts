import sharp from 'sharp';
import type { DrawnPicture } from './pdf-reader.ts';

/** sharp's reading of a file, the yardstick of every test: 8-bit RGBA, upright, without its colour profile applied. */
export async function sharpReading(
  file: Buffer,
  failOn: 'none' | 'warning' = 'warning',
): Promise<{ width: number; height: number; rgba: Buffer }> {
  const { data, info } = await sharp(file, { failOn, limitInputPixels: false, ignoreIcc: true })
    .autoOrient()
    .toColourspace('srgb')
    .ensureAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, rgba: data };
}

/** The CMYK samples of a file, or undefined when it has none. */
export async function sharpCmyk(file: Buffer): Promise<Buffer | undefined> {
  const image = sharp(file, { limitInputPixels: false, ignoreIcc: true });
  if ((await image.metadata()).space !== 'cmyk') return undefined;
  return await image.autoOrient().pipelineColourspace('cmyk').toColourspace('cmyk').raw().toBuffer();
}

/**
 * The largest difference of any sample between what is drawn and what sharp reads; Infinity when the sizes differ.
 * The colour under a pixel that is not drawn at all does not count.
 */
export function largestDifference(
  drawn: Pick<DrawnPicture, 'width' | 'height' | 'rgba'>,
  read: { readonly width: number; readonly height: number; readonly rgba: Buffer },
): number {
  if (drawn.width !== read.width || drawn.height !== read.height) return Infinity;
  let largest = 0;
  for (let at = 0; at < read.rgba.length; at += 4) {
    const alpha = Math.abs((drawn.rgba[at + 3] ?? 0) - (read.rgba[at + 3] ?? 0));
    if (alpha > largest) largest = alpha;
    if (read.rgba[at + 3] === 0) continue;
    for (let k = 0; k < 3; k++) {
      const difference = Math.abs((drawn.rgba[at + k] ?? 0) - (read.rgba[at + k] ?? 0));
      if (difference > largest) largest = difference;
    }
  }
  return largest;
}
