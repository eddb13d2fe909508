/** Pixels per inch across and down. */
export interface Density {
  readonly x: number;
  readonly y: number;
}

/** What a file states: pixels per inch, or no more than how pixels across relate to pixels down. */
export interface StatedDensity extends Density {
  readonly unit: 'inch' | 'ratio';
}

/** What browsers assume of a picture that does not say. */
const assumedDensity = 96;
// Encoders write placeholders such as 1, or 25.4 for "none" (1,000 pixels per metre): a photo would be metres wide.
const leastCredibleDensity = 30;
const mostCredibleDensity = 20_000;
const mostCredibleRatio = 10;

/**
 * The density of a page. What every path and format states comes through here, so the same picture has the same page
 * size however it is stored and drawn.
 *
 * Whole pixels per inch where the file states them and they can be believed. 96 otherwise; a ratio without a unit
 * stretches the page so that no axis has fewer than 96.
 */
export function pageDensity(stated: StatedDensity | undefined): Density {
  if (stated?.unit === 'ratio') return ofRatio(stated.x / stated.y);
  const x = Math.round(stated?.x ?? 0);
  const y = Math.round(stated?.y ?? 0);
  const credible = (value: number): boolean => value >= leastCredibleDensity && value <= mostCredibleDensity;
  return credible(x) && credible(y) ? { x, y } : { x: assumedDensity, y: assumedDensity };
}

function ofRatio(ratio: number): Density {
  const credible = ratio >= 1 / mostCredibleRatio && ratio <= mostCredibleRatio;
  if (!credible) return { x: assumedDensity, y: assumedDensity };
  return { x: assumedDensity * Math.max(1, ratio), y: assumedDensity * Math.max(1, 1 / ratio) };
}

/** The statement to go by of several in one file: an absolute one before a ratio, the first before the next. */
export function preferredDensity(...statements: readonly (StatedDensity | undefined)[]): StatedDensity | undefined {
  return statements.find((each) => each?.unit === 'inch') ?? statements.find((each) => each !== undefined);
}

const centimetresPerInch = 2.54;
const metresPerInch = 0.0254;

function stated(x: number, y: number, unitsPerInch: number | 'ratio'): StatedDensity | undefined {
  if (!(x > 0 && y > 0)) return undefined;
  if (unitsPerInch === 'ratio') return { x, y, unit: 'ratio' };
  return { x: x * unitsPerInch, y: y * unitsPerInch, unit: 'inch' };
}

/** JFIF's APP0: units 0 is a ratio, 1 per inch, 2 per centimetre (ITU-T T.871, 10.1). */
export function jfifDensity(units: number, x: number, y: number): StatedDensity | undefined {
  return stated(x, y, units === 1 ? 1 : units === 2 ? centimetresPerInch : 'ratio');
}

/** PNG's pHYs chunk: unit 0 is a ratio, 1 per metre (PNG specification, 11.3.4.3). */
export function physDensity(chunk: Buffer | undefined): StatedDensity | undefined {
  if (chunk?.length !== 9) return undefined;
  return stated(chunk.readUInt32BE(0), chunk.readUInt32BE(4), chunk[8] === 1 ? metresPerInch : 'ratio');
}

/**
 * Tags 282, 283 and 296 of TIFF and EXIF: unit 1 is none, 2 per inch, 3 per centimetre, absent per inch (TIFF 6.0,
 * page 38). An axis that is absent has the density of the other.
 */
export function tiffDensity(x: number, y: number, unit: number): StatedDensity | undefined {
  return stated(x > 0 ? x : y, y > 0 ? y : x, unit === 1 ? 'ratio' : unit === 3 ? centimetresPerInch : 1);
}
