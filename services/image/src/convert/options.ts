import { pictureLimits } from '@sluice/contracts';

/**
 * `auto`: lossless for lossless sources, JPEG sources copied as they are, JPEG 90 for WebP and AVIF that were lossy
 * already (kept lossless they would grow 13 to 17 times). `high` and `low` re-encode as JPEG.
 */
export type Quality = 'auto' | 'lossless' | 'high' | 'low';

/** `image`: the page is as large as the picture at its own density. Paper: pictures are fitted and centred. */
export type PageSize = 'image' | 'a3' | 'a4' | 'a5' | 'letter' | 'legal';

/**
 * How a picture takes its place on paper. `contain`: as large as it can be, whole. `cover`: the place is filled, what
 * stands out is cut off. `scale-down`: as large as its density says, made smaller where that is too large.
 */
export type Fit = 'contain' | 'cover' | 'scale-down';

/** How pictures are put on pages. All but `marginMm`, `pageOrder` and `standard` speak of paper. */
export interface PageOptions {
  readonly pageSize: PageSize;
  /** `auto`: so that the first picture on the sheet is largest. */
  readonly pageOrientation: 'auto' | 'portrait' | 'landscape';
  /** Millimetres that stay free at each edge of a page and between its pictures. */
  readonly marginMm: number;
  readonly fit: Fit;
  readonly picturesPerPage: number;
  /** `reversed`: the last page comes first, as scanners that feed face up need it. */
  readonly pageOrder: 'given' | 'reversed';
  readonly standard: 'none' | 'pdfa-2b';
}

/** What the caller asks for. */
export interface ConvertOptions extends PageOptions {
  readonly quality: Quality;
  /** Pixels; undefined for no limit. A larger picture is scaled down, its proportions kept. */
  readonly maxWidth?: number | undefined;
  readonly maxHeight?: number | undefined;
  /** Nothing but pixels and what their colours mean reaches the PDF: the density is ignored, a profile is stripped. */
  readonly stripMetadata: boolean;
  /** Of the document; undefined or empty for none. */
  readonly title?: string | undefined;
  readonly author?: string | undefined;
}

/** What the service allows. A picture is judged by its header before any of its pixels are decoded. */
export interface ConvertLimits {
  /** Bytes of one source. */
  readonly maxInputBytes: number;
  /** Pixels of one picture that has to be decoded: they are in memory all at once. */
  readonly maxDecodedPixels: number;
  /** Pixels of one picture that is copied or split: never in memory, so it may be larger. */
  readonly maxCopiedPixels: number;
  /** Pages of one PDF. */
  readonly maxPages: number;
  /** Compressed alpha that is held while the colour is written; a picture with more of it is read twice. */
  readonly maxHeldAlphaBytes: number;
}

export const defaultOptions: ConvertOptions = {
  quality: 'auto',
  stripMetadata: false,
  pageSize: 'image',
  pageOrientation: 'auto',
  marginMm: 0,
  fit: 'contain',
  picturesPerPage: 1,
  pageOrder: 'given',
  standard: 'none',
};

export const defaultLimits: ConvertLimits = {
  maxInputBytes: pictureLimits.maxBytes,
  maxDecodedPixels: 50e6,
  maxCopiedPixels: pictureLimits.maxPixels,
  maxPages: 200,
  maxHeldAlphaBytes: 8 * 2 ** 20,
};

/** Whether a picture of this size is within what was asked for, so that it need not be scaled. */
export function fits(
  size: { readonly width: number; readonly height: number },
  { maxWidth, maxHeight }: Pick<ConvertOptions, 'maxWidth' | 'maxHeight'>,
): boolean {
  return (maxWidth === undefined || size.width <= maxWidth) && (maxHeight === undefined || size.height <= maxHeight);
}
