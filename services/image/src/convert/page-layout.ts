import type { Density } from './metadata/density.ts';
import type { PageSize } from './options.ts';

/** EXIF's orientation: how the stored picture is to be turned before it is seen. 5 to 8 swap width and height. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** Where a picture goes, in points (1/72 inch) of a page whose origin is its top left corner. */
export interface PageLayout {
  readonly widthPt: number;
  readonly heightPt: number;
  /** How many points one unit of the page stands for: 1, but for pages beyond 200 inches. */
  readonly userUnit: number;
  readonly picture: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
}

const paper: Record<Exclude<PageSize, 'image'>, { short: number; long: number }> = {
  a4: { short: 595.28, long: 841.89 },
  letter: { short: 612, long: 792 },
};

// What PDF readers can be expected to show: a side of 3 points at least, 14,400 units at most.
const leastSidePt = 3;
const mostSideUnits = 14_400;

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

/** The page for a picture of so many stored pixels. */
export function layOut(
  pixels: { readonly width: number; readonly height: number },
  density: Density,
  orientation: Orientation,
  pageSize: PageSize,
): PageLayout {
  let width = (pixels.width * 72) / density.x;
  let height = (pixels.height * 72) / density.y;
  if (orientation > 4) [width, height] = [height, width];
  if (pageSize !== 'image') return onPaper(width, height, paper[pageSize]);

  const userUnit = Math.max(1, Math.ceil(Math.max(width, height) / mostSideUnits));
  const widthPt = rounded(Math.max(width / userUnit, leastSidePt));
  const heightPt = rounded(Math.max(height / userUnit, leastSidePt));
  return { widthPt, heightPt, userUnit, picture: { x: 0, y: 0, width: widthPt, height: heightPt } };
}

function onPaper(width: number, height: number, sheet: { short: number; long: number }): PageLayout {
  const [widthPt, heightPt] = width > height ? [sheet.long, sheet.short] : [sheet.short, sheet.long];
  const scale = Math.min(widthPt / width, heightPt / height);
  const picture = { width: rounded(width * scale), height: rounded(height * scale) };
  return {
    widthPt,
    heightPt,
    userUnit: 1,
    picture: { ...picture, x: rounded((widthPt - picture.width) / 2), y: rounded((heightPt - picture.height) / 2) },
  };
}

/** The size of a picture as it is seen. */
export function orientedSize(
  pixels: { readonly width: number; readonly height: number },
  orientation: Orientation,
): { width: number; height: number } {
  return orientation > 4
    ? { width: pixels.height, height: pixels.width }
    : { width: pixels.width, height: pixels.height };
}
