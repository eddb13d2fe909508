import type { Density } from './metadata/density.ts';
import type { Fit, PageOptions, PageSize } from './options.ts';

/** EXIF's orientation: how the stored picture is to be turned before it is seen. 5 to 8 swap width and height. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A rectangle in points (1/72 inch) of a page whose origin is its top left corner. */
export interface Rectangle extends Size {
  readonly x: number;
  readonly y: number;
}

/** Where a picture is drawn. */
export interface Placement {
  readonly picture: Rectangle;
  /** What of the page it may cover; undefined where it does not stand out. */
  readonly clip?: Rectangle | undefined;
}

/** A page, and the places for the pictures on it in the order they are filled. */
export interface Sheet {
  readonly widthPt: number;
  readonly heightPt: number;
  /** How many points one unit of the page stands for: 1, but for pages beyond 200 inches. */
  readonly userUnit: number;
  readonly places: readonly Rectangle[];
}

const paper: Record<Exclude<PageSize, 'image'>, { short: number; long: number }> = {
  a3: { short: 841.89, long: 1190.55 },
  a4: { short: 595.28, long: 841.89 },
  a5: { short: 419.53, long: 595.28 },
  letter: { short: 612, long: 792 },
  legal: { short: 612, long: 1008 },
};

const pointsPerMm = 72 / 25.4;
// What PDF readers can be expected to show: a side of 3 points at least, 14,400 units at most.
const leastSidePt = 3;
const mostSideUnits = 14_400;

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

/** The size of a picture on paper at its density, as it is seen, in points. */
export function printedSize(pixels: Size, density: Density, orientation: Orientation): Size {
  return orientedSize(
    { width: (pixels.width * 72) / density.x, height: (pixels.height * 72) / density.y },
    orientation,
  );
}

/** The page whose first picture has this size: its own, or a sheet of paper held so that this picture is largest. */
export function sheetFor(printed: Size, options: PageOptions): Sheet {
  const margin = options.marginMm * pointsPerMm;
  if (options.pageSize === 'image') return sheetOfPicture(printed, margin);
  const { short, long } = paper[options.pageSize];
  const portrait = gridsOf({ width: short, height: long }, margin, options.picturesPerPage);
  const landscape = gridsOf({ width: long, height: short }, margin, options.picturesPerPage);
  const grids = { portrait, landscape, auto: [...portrait, ...landscape] }[options.pageOrientation];
  // The first of equals: what fits upright as well as across is upright.
  const best = grids.reduce((best, grid) => (scaleIn(grid, printed) > scaleIn(best, printed) * 1.0001 ? grid : best));
  return { widthPt: best.sheet.width, heightPt: best.sheet.height, userUnit: 1, places: placesOf(best) };
}

/** Where a picture goes in its place, in the middle of it. */
export function placeIn(place: Rectangle, printed: Size, fit: Fit): Placement {
  const scales = [place.width / printed.width, place.height / printed.height] as const;
  const contained = Math.min(...scales);
  const scale = { contain: contained, cover: Math.max(...scales), 'scale-down': Math.min(1, contained) }[fit];
  const [width, height] = [rounded(printed.width * scale), rounded(printed.height * scale)];
  const picture = {
    x: rounded(place.x + (place.width - width) / 2),
    y: rounded(place.y + (place.height - height) / 2),
    width,
    height,
  };
  const standsOut = width > place.width + 0.001 || height > place.height + 0.001;
  return { picture, clip: standsOut ? place : undefined };
}

/** A page that is as large as its picture, and its margins around it. */
function sheetOfPicture(printed: Size, margin: number): Sheet {
  const userUnit = Math.max(1, Math.ceil((Math.max(printed.width, printed.height) + 2 * margin) / mostSideUnits));
  const edge = rounded(margin / userUnit);
  const width = rounded(Math.max(printed.width / userUnit, leastSidePt));
  const height = rounded(Math.max(printed.height / userUnit, leastSidePt));
  return {
    widthPt: rounded(width + 2 * edge),
    heightPt: rounded(height + 2 * edge),
    userUnit,
    places: [{ x: edge, y: edge, width, height }],
  };
}

/** Places of one size in rows and columns, with the margin around and between them. */
interface Grid {
  readonly sheet: Size;
  readonly margin: number;
  readonly columns: number;
  readonly rows: number;
  readonly place: Size;
}

function gridsOf(sheet: Size, margin: number, count: number): Grid[] {
  const columnCounts = Array.from({ length: count }, (_, index) => index + 1).filter((n) => count % n === 0);
  return columnCounts.map((columns) => {
    const rows = count / columns;
    const place = {
      width: (sheet.width - margin * (columns + 1)) / columns,
      height: (sheet.height - margin * (rows + 1)) / rows,
    };
    return { sheet, margin, columns, rows, place };
  });
}

const scaleIn = ({ place }: Grid, printed: Size): number =>
  Math.min(place.width / printed.width, place.height / printed.height);

function placesOf({ margin, columns, rows, place }: Grid): Rectangle[] {
  return Array.from({ length: rows * columns }, (_, index) => ({
    x: rounded(margin + (index % columns) * (place.width + margin)),
    y: rounded(margin + Math.floor(index / columns) * (place.height + margin)),
    width: rounded(place.width),
    height: rounded(place.height),
  }));
}

/** The size of a picture as it is seen. */
export function orientedSize(size: Size, orientation: Orientation): Size {
  return orientation > 4 ? { width: size.height, height: size.width } : { width: size.width, height: size.height };
}
