import { tiffTag, type TiffDirectory, type TiffTag } from './tiff-directory.ts';

const isAmong =
  (...allowed: readonly number[]) =>
  ([value]: readonly number[]): boolean =>
    value !== undefined && allowed.includes(value);
const isDensity = ([value]: readonly number[]): boolean => value === undefined || value >= 0;

/**
 * What libtiff calls an error, though it reads the pixels all the same: the value of a tag that scanners and programs of
 * printers write without care. What such a tag says is then what the specification assumes of one that is absent.
 */
const checked: readonly (readonly [tag: TiffTag, isGood: (values: readonly number[]) => boolean])[] = [
  [tiffTag.orientation, isAmong(1, 2, 3, 4, 5, 6, 7, 8)],
  [tiffTag.fillOrder, isAmong(1, 2)],
  [tiffTag.resolutionUnit, isAmong(1, 2, 3)],
  [tiffTag.xResolution, isDensity],
  [tiffTag.yResolution, isDensity],
  // Their number has to be that of all samples, alpha and spot colours included. The pixels do not need their names.
  [tiffTag.inkNames, () => false],
  [tiffTag.numberOfInks, () => false],
];

/** Takes out of a directory, in its file, what libtiff calls broken and does not bear on pixels. */
export function dropHarmlessFaults(directory: TiffDirectory): void {
  for (const [tag, isGood] of checked) {
    if (directory.has(tag) && !isGood(directory.values(tag))) directory.remove(tag);
  }
}
