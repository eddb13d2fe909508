import { CorruptImageError } from '../errors.ts';

/** One directory of a TIFF: an image and what its tags say of it. Offsets into the pixels are left to libtiff. */
export interface TiffDirectory {
  /** Where it stands in the chain, which is how libtiff numbers pages. */
  readonly index: number;
  readonly width: number;
  readonly height: number;
  /** The values of a tag, or those the specification assumes where it is absent; empty where it assumes none. */
  values(tag: TiffTag): readonly number[];
  has(tag: TiffTag): boolean;
  /** Takes a tag out of the file. What is read here of the directory stays. */
  remove(tag: TiffTag): void;
}

export const tiffTag = {
  newSubfileType: 254,
  subfileType: 255,
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  fillOrder: 266,
  orientation: 274,
  samplesPerPixel: 277,
  xResolution: 282,
  yResolution: 283,
  planarConfiguration: 284,
  resolutionUnit: 296,
  tileWidth: 322,
  subIfds: 330,
  inkSet: 332,
  inkNames: 333,
  numberOfInks: 334,
  extraSamples: 338,
  sampleFormat: 339,
  yCbCrCoefficients: 529,
  yCbCrSubSampling: 530,
  referenceBlackWhite: 532,
} as const;
export type TiffTag = (typeof tiffTag)[keyof typeof tiffTag];

const wanted = new Set<number>(Object.values(tiffTag));
const defaults: Readonly<Partial<Record<number, readonly number[]>>> = {
  [tiffTag.newSubfileType]: [0],
  [tiffTag.bitsPerSample]: [1],
  [tiffTag.compression]: [1],
  [tiffTag.samplesPerPixel]: [1],
  [tiffTag.planarConfiguration]: [1],
  [tiffTag.resolutionUnit]: [2],
  [tiffTag.inkSet]: [1],
  [tiffTag.sampleFormat]: [1],
  [tiffTag.yCbCrSubSampling]: [2, 2],
};

// Bytes of a value by type code; types that hold no number that matters here are absent.
const typeBytes: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4, 5: 8, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8 };
// Of a tag, so many values are read: one for each sample of a pixel is the longest list that matters.
const mostValues = 32;
// From 65,000 on tags are anyone's to use.
const privateTag = 65_535;
// libtiff reads no more of a chain either (TIFF_MAX_DIR_COUNT).
const mostDirectories = 1_048_576;

/**
 * The directories of a TIFF or BigTIFF in order. Reads tags in any order, as libtiff does. Ends where the chain ends,
 * or comes back to a directory it has visited.
 *
 * @throws {CorruptImageError} when the file ends within a directory, or its first is missing
 */
export function* readTiffDirectories(file: Buffer): Generator<TiffDirectory> {
  const numbers = new FileNumbers(file);
  const visited = new Set<number>();
  try {
    let offset = numbers.offset(numbers.big ? 8 : 4);
    for (let index = 0; offset !== 0 && !visited.has(offset) && index < mostDirectories; index++) {
      visited.add(offset);
      const { directory, next } = readDirectory(numbers, offset, index);
      yield directory;
      offset = next;
    }
  } catch (error) {
    if (error instanceof RangeError) throw new CorruptImageError('TIFF: the file ends within a directory');
    throw error;
  }
}

function readDirectory(
  numbers: FileNumbers,
  offset: number,
  index: number,
): { readonly directory: TiffDirectory; readonly next: number } {
  const { big } = numbers;
  const [count, first, entryBytes] = big
    ? [numbers.u64(offset), offset + 8, 20]
    : [numbers.u16(offset), offset + 2, 12];
  const tags = new Map<number, readonly number[]>();
  const places = new Map<number, number>();
  for (let entry = 0; entry < count; entry++) {
    const at = first + entry * entryBytes;
    const tag = numbers.u16(at);
    if (!wanted.has(tag) || tags.has(tag)) continue;
    // Where further directories lie is left to libtiff, which steps over what is broken of it.
    tags.set(tag, tag === tiffTag.subIfds ? [] : readValues(numbers, at));
    places.set(tag, at);
  }
  const values = (tag: number): readonly number[] => tags.get(tag) ?? defaults[tag] ?? [];
  return {
    directory: {
      index,
      width: values(tiffTag.width)[0] ?? 0,
      height: values(tiffTag.height)[0] ?? 0,
      values,
      has: (tag) => tags.has(tag),
      remove(tag) {
        const at = places.get(tag);
        if (at !== undefined) numbers.makePrivate(at);
      },
    },
    next: numbers.offset(first + count * entryBytes),
  };
}

function readValues(numbers: FileNumbers, entry: number): readonly number[] {
  const type = numbers.u16(entry + 2);
  const bytes = typeBytes[type];
  if (bytes === undefined) return [];
  const count = numbers.big ? numbers.u64(entry + 4) : numbers.u32(entry + 4);
  const inline = entry + (numbers.big ? 12 : 8);
  const at = count * bytes <= (numbers.big ? 8 : 4) ? inline : numbers.offset(inline);
  return Array.from({ length: Math.min(count, mostValues) }, (_, i) => numbers.ofType(type, at + i * bytes));
}

/** Numbers of a TIFF in its own byte order. All throw a RangeError beyond the end of the file. */
class FileNumbers {
  readonly big: boolean;
  readonly #view: DataView;
  readonly #little: boolean;

  constructor(file: Buffer) {
    this.#view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    this.#little = file[0] === 0x49;
    this.big = file[this.#little ? 2 : 3] === 43;
  }

  u16(at: number): number {
    return this.#view.getUint16(at, this.#little);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }

  u64(at: number): number {
    return Number(this.#view.getBigUint64(at, this.#little));
  }

  /** Makes an entry of a directory one that no reader knows, with one byte for a value. */
  makePrivate(entry: number): void {
    this.#view.setUint16(entry, privateTag, this.#little);
    this.#view.setUint16(entry + 2, 1, this.#little);
    if (this.big) this.#view.setBigUint64(entry + 4, 1n, this.#little);
    else this.#view.setUint32(entry + 4, 1, this.#little);
  }

  offset(at: number): number {
    return this.big ? this.u64(at) : this.u32(at);
  }

  ofType(type: number, at: number): number {
    switch (type) {
      case 1:
        return this.#view.getUint8(at);
      case 3:
        return this.u16(at);
      case 5:
        return this.u32(at) / this.u32(at + 4);
      case 10:
        return this.#view.getInt32(at, this.#little) / this.#view.getInt32(at + 4, this.#little);
      case 11:
        return this.#view.getFloat32(at, this.#little);
      case 12:
        return this.#view.getFloat64(at, this.#little);
      case 16:
        return this.u64(at);
      default:
        return this.u32(at);
    }
  }
}
