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
