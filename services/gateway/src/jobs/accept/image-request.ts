import { create } from '@bufbuild/protobuf';
import {
  ImageOptionsSchema,
  ImageRequestSchema,
  parseEmailAddress,
  PageSize,
  Priority,
  Quality,
  type ImageOptions,
  type ImageSource,
} from '@sluice/contracts';
import { invalidField } from '../../errors.ts';
import type { NewJob } from './accept-job.ts';
import { callbackUrl } from './callback-url.ts';
import { requestHash } from './request-hash.ts';

/** A source that is stored, or small enough to travel along, with the digest of its bytes. */
export interface TakenSource {
  readonly source: ImageSource;
  readonly sha256: string;
}

/** A conversion as it was asked for, its pictures taken in. */
export interface ImageInput {
  readonly sources: readonly TakenSource[];
  readonly options: ImageOptions;
  readonly priority?: Priority | undefined;
  readonly callbackUrl?: string | undefined;
  readonly notify?: string | undefined;
}

export const qualities = {
  auto: Quality.AUTO,
  lossless: Quality.LOSSLESS,
  high: Quality.HIGH,
  low: Quality.LOW,
} as const;
export const pageSizes = { image: PageSize.IMAGE, a4: PageSize.A4, letter: PageSize.LETTER } as const;

/** Pixels to scale to: no PDF page needs more, and no encoder takes more. */
export const MAX_SIDE = 65_535;

/**
 * Options with every default written out, so that leaving one out and naming it are the same request. Protobuf lets
 * numbers through that no name stands for: what was meant by them is not known, so it is not guessed.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function imageOptions(given: Partial<Omit<ImageOptions, '$typeName'>>): ImageOptions {
  const quality = given.quality || Quality.AUTO;
  const pageSize = given.pageSize || PageSize.IMAGE;
  if (!Object.values<number>(qualities).includes(quality)) throw invalidField('/options/quality', 'is not known');
  if (!Object.values<number>(pageSizes).includes(pageSize)) throw invalidField('/options/pageSize', 'is not known');
  for (const side of ['maxWidth', 'maxHeight'] as const) {
    if ((given[side] ?? 0) > MAX_SIDE) throw invalidField(`/options/${side}`, `must be at most ${MAX_SIDE}`);
  }
  return create(ImageOptionsSchema, { ...given, quality, pageSize });
}

/** The address to mail when a job is done. */
export function notifyAddress(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  const address = parseEmailAddress(text);
  if (address === undefined) throw invalidField('/notify', 'must be one bare e-mail address');
  return address;
}

/**
 * Validates a request for a conversion.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function newImageJob(input: ImageInput, { account, trace }: Pick<NewJob, 'account' | 'trace'>): NewJob {
  const callback = callbackUrl(input.callbackUrl);
  const notify = notifyAddress(input.notify);
  // Unspecified on the wire is normal: leaving it out and naming it are the same request.
  const priority = input.priority || Priority.NORMAL;
  const { quality, maxWidth, maxHeight, stripMetadata, pageSize } = input.options;
  return {
    account,
    trace,
    priority,
    callbackUrl: callback,
    notify,
    work: {
      case: 'image',
      value: create(ImageRequestSchema, {
        sources: input.sources.map((taken) => taken.source),
        options: input.options,
      }),
    },
    requestHash: requestHash({
      kind: 'image',
      sources: input.sources.map((taken) => taken.sha256),
      options: { quality, maxWidth, maxHeight, stripMetadata, pageSize },
      priority,
      callback,
      notify,
    }),
  };
}
