import { fields, natsFields, storeFields } from '@sluice/service';
import { z } from 'zod';
import { defaultLimits, type ConvertLimits } from './convert/options.ts';
import { sizeFor, type Machine, type Sizing } from './sizing.ts';

const BOTH_LANES = 'the normal and the express lane need one each';

/** What the image service takes besides the fields of every service. What is absent is sized for the machine. */
export const imageFields = {
  ...natsFields,
  ...storeFields,
  /** Jobs in flight, for each of the two pipelines. */
  CONCURRENCY: fields.count.min(2, BOTH_LANES).max(256).optional(),
  /** Decoder processes, for pictures that cannot be copied. */
  DECODERS: fields.count.max(256).optional(),
  /** Memory of one decoder before it is killed. */
  DECODER_MEMORY_BYTES: fields.count.min(128 * 2 ** 20, 'a decoder needs 128 MiB').optional(),
  /**
   * CPU time of one picture in a decoder, and the time on the clock of the first attempt at a job, from its first byte
   * read to its last byte written; the second may take twice as long, the third, which is the last, three times.
   */
  CONVERT_TIMEOUT_MS: fields.ms.default(60_000),
  /** Failed runs before a job fails; a run that took too long fails it for good at the third. */
  RETRY_ATTEMPTS: fields.count.default(6),
  /** The first pause between runs; each further one is longer. */
  RETRY_BASE_MS: fields.ms.default(500),
  /** The longest pause between runs. */
  RETRY_MAX_MS: fields.ms.default(30_000),
  /** The time on the clock to fetch all pictures of one job that are URLs. */
  FETCH_TIMEOUT_MS: fields.ms.default(60_000),
  /** `public`: pictures are fetched over https from public addresses alone. `any` is for one's own machine, and default in `dev`. */
  FETCH_TARGETS: z.enum(['public', 'any']).optional(),
  /** Bytes of one picture. */
  MAX_INPUT_BYTES: fields.count.default(defaultLimits.maxInputBytes),
  /** Pixels of a picture that has to be decoded. */
  MAX_DECODED_PIXELS: fields.count.optional(),
  /** Pixels of a picture that is copied. */
  MAX_COPIED_PIXELS: fields.count.default(defaultLimits.maxCopiedPixels),
  /** Pages of one PDF. */
  MAX_PAGES: fields.count.default(defaultLimits.maxPages),
  /**
   * `on` reads each JPEG that is copied through for damage in a decoder and refuses it where there is any. Without,
   * damage that leaves the structure whole is copied and shows in the PDF as it does in the file.
   */
  VERIFY_JPEG: z.enum(['on', 'off']).default('off'),
};

export type ImageConfig = z.infer<z.ZodObject<typeof imageFields>>;

/** The configuration in the words of the service. */
export interface ImageSettings {
  readonly sizing: Sizing;
  readonly limits: ConvertLimits;
  readonly verifyJpeg: boolean;
  readonly convertTimeoutMs: number;
}

export function imageSettings(config: ImageConfig, machine: Machine): ImageSettings {
  const sized = sizeFor(machine);
  const sizing: Sizing = {
    slots: config.CONCURRENCY ?? sized.slots,
    decoders: config.DECODERS ?? sized.decoders,
    decoderMemoryBytes: config.DECODER_MEMORY_BYTES ?? sized.decoderMemoryBytes,
    maxDecodedPixels: config.MAX_DECODED_PIXELS ?? sized.maxDecodedPixels,
  };
  return {
    sizing,
    limits: {
      maxInputBytes: config.MAX_INPUT_BYTES,
      maxDecodedPixels: sizing.maxDecodedPixels,
      maxCopiedPixels: config.MAX_COPIED_PIXELS,
      maxPages: config.MAX_PAGES,
      maxHeldAlphaBytes: defaultLimits.maxHeldAlphaBytes,
    },
    verifyJpeg: config.VERIFY_JPEG === 'on',
    convertTimeoutMs: config.CONVERT_TIMEOUT_MS,
  };
}
