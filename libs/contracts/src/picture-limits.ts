/**
 * What is taken of pictures unless a deployment says otherwise. The gateway refuses what is beyond, so what it accepts
 * must be what the image service converts: both have their defaults from here.
 */
export const pictureLimits = {
  /** Bytes: of one request at the gateway, of one picture at the image service. */
  maxBytes: 128 * 2 ** 20,
  /** Pixels of one picture, width times height. What has to be decoded to be converted may have fewer. */
  maxPixels: 120_000_000,
} as const;

/** How pictures may be put on paper. A margin of an inch leaves room for 16 pictures on the smallest sheet, A5. */
export const pageLimits = {
  maxMarginMm: 25.4,
  picturesPerPage: [1, 2, 4, 6, 9, 16],
  /** Characters of a document's title, and of its author's name. */
  maxTextLength: 200,
} as const;
