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
