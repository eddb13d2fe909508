import type { IccProfile } from '../metadata/icc.ts';

/** A picture as PDF draws it: what its bytes mean. */
export interface PdfImage {
  readonly width: number;
  readonly height: number;
  readonly bits: number;
  readonly colour: 'DeviceGray' | 'DeviceRGB' | 'DeviceCMYK' | { readonly palette: Buffer };
  readonly filter: 'FlateDecode' | 'DCTDecode';
  /** Samples of a pixel in rows that carry PNG filters; undefined when rows carry none. */
  readonly predictorColours?: number | undefined;
  readonly profile?: IccProfile | undefined;
  /** Lowest and highest sample of each component: pixels within are not drawn. */
  readonly colourKey?: readonly number[] | undefined;
  /** Samples count down from white to black, as Adobe writes CMYK. */
  readonly inverted?: boolean | undefined;
}

/** The entries of a picture's dictionary, but for its length and what it refers to. */
export function imageEntries(image: PdfImage, colourSpace: unknown): Record<string, unknown> {
  const components = image.colour === 'DeviceCMYK' ? 4 : image.colour === 'DeviceRGB' ? 3 : 1;
  return {
    Type: 'XObject',
    Subtype: 'Image',
    Width: image.width,
    Height: image.height,
    BitsPerComponent: image.bits,
    ColorSpace: colourSpace,
    Filter: image.filter,
    ...(image.predictorColours !== undefined && {
      DecodeParms: {
        Predictor: 15,
        Colors: image.predictorColours,
        BitsPerComponent: image.bits,
        Columns: image.width,
      },
    }),
    ...(image.colourKey && { Mask: [...image.colourKey] }),
    ...(image.inverted && { Decode: Array.from({ length: components }, () => [1, 0]).flat() }),
  };
}

/**
 * Why a picture cannot be part of a PDF/A-2b; undefined when it can. Its document states what RGB and gray without a
 * profile mean; CMYK has no such statement (ISO 19005-2, 6.2.4.3), and profiles are those of PDF 1.7: ICC 4.
 */
export function outsidePdfA({ colour, profile }: PdfImage): string | undefined {
  if (!profile) return colour === 'DeviceCMYK' ? 'CMYK without a colour profile cannot be in PDF/A' : undefined;
  return profile.version > 4 ? `a colour profile of ICC version ${profile.version} cannot be in PDF/A` : undefined;
}
