import type { Density, Orientation } from './page.ts';

/** The two things in a picture's EXIF that bear on how it is shown. */
export interface ExifHints {
  readonly orientation: Orientation;
  readonly density?: Density;
}

const tags = { orientation: 0x112, xResolution: 0x11a, yResolution: 0x11b, resolutionUnit: 0x128 };
const centimetres = 3;

/**
 * Reads the first directory of an EXIF block (a TIFF structure, as JPEG's APP1 after its header and PNG's eXIf hold
 * it). Broken EXIF is no reason to refuse a picture: it counts as absent.
 */
export function readExif(block: Uint8Array): ExifHints {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  try {
    return readDirectory(view, view.getUint8(0) === 0x49);
  } catch (error) {
    if (error instanceof RangeError) return { orientation: 1 };
    throw error;
  }
}

function readDirectory(view: DataView, little: boolean): ExifHints {
  const directory = view.getUint32(4, little);
  const count = view.getUint16(directory, little);
  let orientation: Orientation = 1;
  let [x, y, unit] = [0, 0, 2];
  for (let i = 0; i < count; i++) {
    const entry = directory + 2 + i * 12;
    const tag = view.getUint16(entry, little);
    if (tag === tags.orientation) orientation = asOrientation(view.getUint16(entry + 8, little));
    else if (tag === tags.xResolution) x = rational(view, entry, little);
    else if (tag === tags.yResolution) y = rational(view, entry, little);
    else if (tag === tags.resolutionUnit) unit = view.getUint16(entry + 8, little);
  }
  const toInches = unit === centimetres ? 2.54 : 1;
  return x > 0 && y > 0 ? { orientation, density: { x: x * toInches, y: y * toInches } } : { orientation };
}

function rational(view: DataView, entry: number, little: boolean): number {
  const at = view.getUint32(entry + 8, little);
  return view.getUint32(at, little) / view.getUint32(at + 4, little);
}

function asOrientation(value: number): Orientation {
  return value >= 1 && value <= 8 ? (value as Orientation) : 1;
}
