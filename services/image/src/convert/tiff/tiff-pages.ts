import { CorruptImageError, ImageTooLargeError, UnsupportedImageError } from '../errors.ts';
import { tiffDensity, type StatedDensity } from '../metadata/density.ts';
import { readTiffDirectories, tiffTag, type TiffDirectory } from './tiff-directory.ts';
import { dropHarmlessFaults } from './harmless-faults.ts';

/**
 * How libvips gives the samples of a page: as a picture it knows (`direct`), or as plain numbers that are made into one
 * here, because it would take them for something else.
 */
export type TiffSamples = 'direct' | 'ycbcr' | 'gray-float' | 'gray-uint32';

/** A directory that becomes a page. */
export interface TiffPage {
  /** Its number in the file, subfiles that are no pages counted. */
  readonly index: number;
  readonly width: number;
  readonly height: number;
  readonly samples: TiffSamples;
  readonly density: StatedDensity | undefined;
}

const reducedCopy = 1;
const transparencyMask = 4;
const oldReducedCopy = 2;
const maskPhotometric = 4;

/**
 * The pages of a TIFF: every directory but reduced copies (thumbnails, levels of a pyramid) and masks, which only
 * belong to one. Changes the file: what libtiff takes amiss and does not bear on pixels is taken out.
 *
 * @throws {CorruptImageError} when a directory is broken, or there is none
 * @throws {ImageTooLargeError} when there are more than `maxPages`
 * @throws {UnsupportedImageError} when a page is of a form that is not decoded
 */
export function tiffPages(file: Buffer, maxPages: number): TiffPage[] {
  const pages: TiffDirectory[] = [];
  let first: TiffDirectory | undefined;
  for (const directory of readTiffDirectories(file)) {
    first ??= directory;
    dropHarmlessFaults(directory);
    if (isSubfile(directory)) continue;
    pages.push(directory);
    if (pages.length > maxPages) {
      throw new ImageTooLargeError(`more than ${maxPages} pages in one file, where ${maxPages} are left`);
    }
  }
  if (!first) throw new CorruptImageError('TIFF: no directory');
  // Raw photos (DNG, NEF): what stands in the chain is a thumbnail of a picture that lies elsewhere.
  if (pages.length === 0 && first.has(tiffTag.subIfds)) {
    throw unsupported('nothing but a thumbnail on its pages, as raw photos have it,', 'save it as JPEG or TIFF');
  }
  // A file of nothing but a reduced copy: its only picture.
  return (pages.length > 0 ? pages : [first]).map((directory) => ({
    index: directory.index,
    width: directory.width,
    height: directory.height,
    samples: samplesOf(directory),
    density: densityOf(directory),
  }));
}

function isSubfile(directory: TiffDirectory): boolean {
  const [type = 0] = directory.values(tiffTag.newSubfileType);
  const [oldType] = directory.values(tiffTag.subfileType);
  const [photometric] = directory.values(tiffTag.photometric);
  return (
    (type & (reducedCopy | transparencyMask)) !== 0 || oldType === oldReducedCopy || photometric === maskPhotometric
  );
}

function densityOf(directory: TiffDirectory): StatedDensity | undefined {
  const [x = 0] = directory.values(tiffTag.xResolution);
  const [y = 0] = directory.values(tiffTag.yResolution);
  const [unit = 0] = directory.values(tiffTag.resolutionUnit);
  return tiffDensity(x, y, unit);
}

const compressions: Readonly<Record<number, string>> = {
  6: 'old JPEG',
  34887: 'LERC',
  34925: 'LZMA',
  34933: 'PNG',
  34712: 'JPEG 2000',
  50000: 'ZSTD',
  50002: 'JPEG XL',
  32766: 'NeXT',
  32809: 'ThunderScan',
  32909: 'Pixar',
  34676: 'LogLuv',
  34677: 'LogLuv',
};
// None, CCITT RLE, G3, G4, LZW, JPEG, Deflate, CCITT RLE by words, PackBits, Deflate of old, WebP.
const decodedCompressions = new Set([1, 2, 3, 4, 5, 7, 8, 32771, 32773, 32946, 50001]);
const jpegCompression = 7;

const photometric = {
  whiteIsZero: 0,
  blackIsZero: 1,
  rgb: 2,
  palette: 3,
  separated: 5,
  yCbCr: 6,
  cieLab: 8,
} as const;
const photometricNames: Readonly<Record<number, string>> = {
  4: 'a mask',
  9: 'ICC L*a*b*',
  10: 'ITU L*a*b*',
  32803: 'raw sensor data',
  32844: 'LogL',
  32845: 'LogLuv',
  34892: 'raw sensor data',
};
const separatePlanes = 2;
const associatedAlpha = 1;
const unassociatedAlpha = 2;
const coloursOf: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3 };

const format = { unsigned: 1, signed: 2, float: 3, undefined: 4 } as const;

/** A form of TIFF that is read right. What is not on this list is refused: it would be drawn wrong, or not at all. */
function samplesOf(directory: TiffDirectory): TiffSamples {
  const [compression = 1] = directory.values(tiffTag.compression);
  if (!decodedCompressions.has(compression)) {
    const name = compressions[compression];
    throw unsupported(
      name === undefined ? `compression ${compression}` : `${name} compression`,
      'save it with LZW or Deflate compression',
    );
  }
  const [kind] = directory.values(tiffTag.photometric);
  if (kind === undefined) throw new CorruptImageError('TIFF: PhotometricInterpretation is missing');
  const colours = coloursOf[kind];
  if (colours === undefined) {
    throw unsupported(photometricNames[kind] ?? `photometric interpretation ${kind}`, 'save it as RGB');
  }
  const [samplesPerPixel = 1] = directory.values(tiffTag.samplesPerPixel);
  if (samplesPerPixel < colours) throw new CorruptImageError('TIFF: fewer samples than colours');
  if (samplesPerPixel > 1 && directory.values(tiffTag.planarConfiguration)[0] === separatePlanes) {
    const what = directory.has(tiffTag.tileWidth) ? 'tiles' : 'samples';
    // Of RGB and CMYK libvips joins the planes of strips. Of others it takes each for rows of all samples.
    const joined = what === 'samples' && (kind === photometric.rgb || kind === photometric.separated);
    if (!joined) throw unsupported(`${what} in separate planes`, 'save it with interleaved samples');
  }
  if (kind === photometric.separated && directory.values(tiffTag.inkSet)[0] !== 1) {
    throw unsupported('inks other than CMYK', 'save it as CMYK or RGB');
  }
  const extra = directory.values(tiffTag.extraSamples);
  if (samplesPerPixel - colours > 1 && extra.some((type) => type === associatedAlpha || type === unassociatedAlpha)) {
    throw unsupported('alpha among further samples', 'save it with alpha alone beside its colours');
  }
  const depth = depthOf(directory);
  if (kind === photometric.yCbCr && compression !== jpegCompression) return yCbCrSamples(directory, depth);
  return plainSamples(kind, samplesPerPixel, depth);
}

interface Depth {
  readonly bits: number;
  readonly format: number;
}

function depthOf(directory: TiffDirectory): Depth {
  const all = directory.values(tiffTag.bitsPerSample);
  const formats = directory.values(tiffTag.sampleFormat);
  const [bits = 1] = all;
  const [sampleFormat = format.unsigned] = formats;
  if (all.some((each) => each !== bits) || formats.some((each) => each !== sampleFormat)) {
    throw unsupported('samples of different kinds in one pixel', 'save it with 8 or 16 bits per sample');
  }
  return { bits, format: sampleFormat === format.undefined ? format.unsigned : sampleFormat };
}

function plainSamples(kind: number, samplesPerPixel: number, depth: Depth): TiffSamples {
  const gray = kind === photometric.blackIsZero || kind === photometric.whiteIsZero;
  if (kind === photometric.blackIsZero && samplesPerPixel === 1 && depth.bits === 32) {
    if (depth.format === format.float) return 'gray-float';
    if (depth.format === format.unsigned) return 'gray-uint32';
  }
  const depths = {
    [photometric.whiteIsZero]: [1, 2, 4, 8, 16],
    [photometric.blackIsZero]: [1, 2, 4, 8, 16],
    [photometric.rgb]: [8, 16],
    [photometric.palette]: [1, 2, 4, 8],
    [photometric.separated]: [8, 16],
    [photometric.yCbCr]: [8],
    [photometric.cieLab]: [16],
  }[kind];
  // Below 8 bits libvips reads one sample a pixel.
  const alone = samplesPerPixel === 1 || depth.bits >= 8;
  if (depth.format !== format.unsigned && !(kind === photometric.cieLab && depth.format === format.signed)) {
    const name = { [format.signed]: 'signed', [format.float]: 'floating point' }[depth.format];
    throw unsupported(
      `${depth.bits}-bit ${name ?? 'complex or undefined'} samples`,
      'save it with 8 or 16 bits per sample',
    );
  }
  if (!depths?.includes(depth.bits) || !alone) {
    const what = gray ? 'gray' : kind === photometric.cieLab ? 'CIE L*a*b*' : 'colour';
    throw unsupported(`${depth.bits}-bit ${what} samples`, 'save it with 8 or 16 bits per sample as gray or RGB');
  }
  return 'direct';
}

// ITU-R BT.601, what the specification assumes.
const bt601 = [0.299, 0.587, 0.114];
const fullRange = [0, 255, 128, 255, 128, 255];

function yCbCrSamples(directory: TiffDirectory, { bits, format: sampleFormat }: Depth): TiffSamples {
  const differs = (tag: 529 | 532, expected: readonly number[]): boolean =>
    directory.has(tag) && directory.values(tag).some((value, i) => Math.abs(value - (expected[i] ?? 0)) > 0.002);
  const [across, down] = directory.values(tiffTag.yCbCrSubSampling);
  const known = bits === 8 && sampleFormat === format.unsigned && directory.values(tiffTag.samplesPerPixel)[0] === 3;
  if (!known || differs(tiffTag.yCbCrCoefficients, bt601) || differs(tiffTag.referenceBlackWhite, fullRange)) {
    throw unsupported('YCbCr of an unusual kind', 'save it as RGB');
  }
  // libvips has libtiff turn subsampled ones into RGB, and gives others as they are, as if they were RGB.
  return across === 1 && down === 1 ? 'ycbcr' : 'direct';
}

function unsupported(what: string, advice: string): UnsupportedImageError {
  return new UnsupportedImageError(`TIFF with ${what} is not decoded: ${advice}`);
}
