import type { Orientation } from '../page-layout.ts';
import { tiffDensity, type StatedDensity } from './density.ts';

/** The two things in a picture's EXIF that bear on how it is shown. */
export interface ExifHints {
  readonly orientation: Orientation;
  readonly density?: StatedDensity;
}

const tags = { orientation: 0x112, xResolution: 0x11a, yResolution: 0x11b, resolutionUnit: 0x128 };
// Bytes of the types that hold whole numbers, signed or not, by their codes in TIFF.
const integerBytes: Readonly<Record<number, 1 | 2 | 4>> = { 1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4 };

/**
 * Reads the first directory of an EXIF block (a TIFF structure, as JPEG's APP1 after its header and PNG's eXIf hold
 * it). Broken EXIF is no reason to refuse a picture: what of it cannot be read counts as absent.
 */
export function readExif(block: Uint8Array): ExifHints {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const found: Found = { orientation: 1, x: 0, y: 0, unit: 0 };
  try {
    const order = view.getUint16(0);
    if (order === 0x4949 || order === 0x4d4d) readDirectory(view, order === 0x4949, found);
  } catch (error) {
    // It ends in the middle of an entry. Those before it hold.
    if (!(error instanceof RangeError)) throw error;
  }
  const { orientation, x, y, unit } = found;
  const density = tiffDensity(x, y, unit);
  return density ? { orientation, density } : { orientation };
}

interface Found {
  orientation: Orientation;
  x: number;
  y: number;
  unit: number;
}

function readDirectory(view: DataView, little: boolean, found: Found): void {
  if (view.getUint16(2, little) !== 42) return;
  const directory = view.getUint32(4, little);
  const count = view.getUint16(directory, little);
  for (let i = 0; i < count; i++) {
    const entry = directory + 2 + i * 12;
    const tag = view.getUint16(entry, little);
    if (tag === tags.orientation) found.orientation = asOrientation(integer(view, entry, little));
    else if (tag === tags.xResolution) found.x = rational(view, entry, little);
    else if (tag === tags.yResolution) found.y = rational(view, entry, little);
    else if (tag === tags.resolutionUnit) found.unit = integer(view, entry, little);
  }
}

/** A whole number, which some cameras write in more bytes than it should have; 0 when it is none. */
function integer(view: DataView, entry: number, little: boolean): number {
  const bytes = integerBytes[view.getUint16(entry + 2, little)] ?? 8;
  const count = view.getUint32(entry + 4, little);
  // More than four bytes lie elsewhere, and are no single number.
  if (count === 0 || bytes * count > 4) return 0;
  if (bytes === 1) return view.getUint8(entry + 8);
  return bytes === 2 ? view.getUint16(entry + 8, little) : view.getUint32(entry + 8, little);
}

function rational(view: DataView, entry: number, little: boolean): number {
  const at = view.getUint32(entry + 8, little);
  return at + 8 <= view.byteLength ? view.getUint32(at, little) / view.getUint32(at + 4, little) : 0;
}

function asOrientation(value: number): Orientation {
  return value >= 1 && value <= 8 ? (value as Orientation) : 1;
}
