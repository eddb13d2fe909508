import { create } from '@bufbuild/protobuf';
import {
  ImageFit,
  ImageOptionsSchema,
  ImageRequestSchema,
  pageLimits,
  PageOrder,
  PageOrientation,
  parseEmailAddress,
  PageSize,
  PdfStandard,
  Priority,
  Quality,
  type ImageOptions,
  type ImageSource,
} from '@sluice/contracts';
import { invalidField } from '../../errors.ts';
import type { NewJob } from './accept-job.ts';
import { callbackUrl } from './callback-url.ts';
import { checkedMetadata } from './labels.ts';
import { requestHash } from './request-hash.ts';

/** A source that is stored, or small enough to travel along, with the digest of its bytes. */
export interface TakenSource {
  readonly source: ImageSource;
  readonly sha256: string;
  /** What its sender calls it. */
  readonly fileName?: string | undefined;
}

/** A conversion as it was asked for, its pictures taken in. */
export interface ImageInput {
  readonly sources: readonly TakenSource[];
  readonly options: ImageOptions;
  readonly priority?: Priority | undefined;
  readonly callbackUrl?: string | undefined;
  readonly notify?: string | undefined;
  /** The mail to `notify` carries the PDF. */
  readonly notifyAttach?: boolean | undefined;
  /** Pairs of the caller's own. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export const qualities = {
  auto: Quality.AUTO,
  lossless: Quality.LOSSLESS,
  high: Quality.HIGH,
  low: Quality.LOW,
} as const;
export const pageSizes = {
  image: PageSize.IMAGE,
  a3: PageSize.A3,
  a4: PageSize.A4,
  a5: PageSize.A5,
  letter: PageSize.LETTER,
  legal: PageSize.LEGAL,
} as const;
export const pageOrientations = {
  auto: PageOrientation.AUTO,
  portrait: PageOrientation.PORTRAIT,
  landscape: PageOrientation.LANDSCAPE,
} as const;
export const fits = {
  contain: ImageFit.CONTAIN,
  cover: ImageFit.COVER,
  'scale-down': ImageFit.SCALE_DOWN,
} as const;
export const pageOrders = { given: PageOrder.GIVEN, reversed: PageOrder.REVERSED } as const;
export const pdfStandards = { none: PdfStandard.NONE, 'pdfa-2b': PdfStandard.PDFA_2B } as const;

/** Pixels to scale to: no PDF page needs more, and no encoder takes more. */
export const MAX_SIDE = 65_535;

/**
 * Options with every default written out, so that leaving one out and naming it are the same request. Protobuf lets
 * numbers through that no name stands for: what was meant by them is not known, so it is not guessed.
 *
 * @param at where the options stand in the request, for the pointers of errors
 * @throws {GatewayError} `invalid_request`.
 */
export function imageOptions(given: Partial<Omit<ImageOptions, '$typeName'>>, at = '/options'): ImageOptions {
  const options = create(ImageOptionsSchema, {
    ...given,
    quality: known(`${at}/quality`, qualities, given.quality || Quality.AUTO),
    pageSize: known(`${at}/pageSize`, pageSizes, given.pageSize || PageSize.IMAGE),
    pageOrientation: known(`${at}/pageOrientation`, pageOrientations, given.pageOrientation || PageOrientation.AUTO),
    fit: known(`${at}/fit`, fits, given.fit || ImageFit.CONTAIN),
    pageOrder: known(`${at}/pageOrder`, pageOrders, given.pageOrder || PageOrder.GIVEN),
    standard: known(`${at}/standard`, pdfStandards, given.standard || PdfStandard.NONE),
    picturesPerPage: given.picturesPerPage || 1,
  });
  for (const side of ['maxWidth', 'maxHeight'] as const) {
    if ((given[side] ?? 0) > MAX_SIDE) throw invalidField(`${at}/${side}`, `must be at most ${MAX_SIDE}`);
  }
  const { marginMm, picturesPerPage } = options;
  const { maxMarginMm, maxTextLength } = pageLimits;
  if (!(marginMm >= 0 && marginMm <= maxMarginMm)) {
    throw invalidField(`${at}/marginMm`, `must be a number of millimetres from 0 to ${maxMarginMm}`);
  }
  if (!pageLimits.picturesPerPage.some((count) => count === picturesPerPage)) {
    throw invalidField(`${at}/picturesPerPage`, `must be one of ${pageLimits.picturesPerPage.join(', ')}`);
  }
  for (const name of ['title', 'author'] as const) {
    const text = options[name];
    if (text.length > maxTextLength) throw invalidField(`${at}/${name}`, `has more than ${maxTextLength} characters`);
    if (/\p{Cc}|\p{Cs}/u.test(text)) throw invalidField(`${at}/${name}`, 'has control characters');
  }
  if (options.pageSize === PageSize.IMAGE) refusePaperOptions(options, at);
  return options;
}

function known<T extends number>(pointer: string, values: Readonly<Record<string, T>>, value: T): T {
  if (!Object.values(values).includes(value)) throw invalidField(pointer, 'is not known');
  return value;
}

/** What speaks of paper is refused where the page is as large as its picture: it would be without effect. */
function refusePaperOptions({ pageOrientation, fit, picturesPerPage }: ImageOptions, at: string): void {
  const given = [
    ['pageOrientation', pageOrientation !== PageOrientation.AUTO],
    ['fit', fit !== ImageFit.CONTAIN],
    ['picturesPerPage', picturesPerPage !== 1],
  ] as const;
  const [name] = given.find(([, differs]) => differs) ?? [];
  const papers = Object.keys(pageSizes).filter((size) => size !== 'image');
  if (name) throw invalidField(`${at}/${name}`, `needs a pageSize of paper: ${papers.join(', ')}`);
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
  const notifyAttach = input.notifyAttach === true;
  if (notifyAttach && notify === undefined) throw invalidField('/notifyAttach', 'needs an address in notify');
  const metadata = checkedMetadata(input.metadata);
  // Unspecified on the wire is normal: leaving it out and naming it are the same request.
  const priority = input.priority || Priority.NORMAL;
  return {
    account,
    trace,
    priority,
    callbackUrl: callback,
    notify,
    notifyAttach,
    metadata,
    fileNames: [...new Set(input.sources.flatMap(({ fileName }) => fileName ?? []))],
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
      options: hashedOptions(input.options),
      priority,
      callback,
      notify,
      ...(notifyAttach ? { notifyAttach } : {}),
      ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    }),
  };
}

/**
 * Options of a request's digest. The older five are always in it, the others where they differ from their default: the
 * digest of a request that does not use them is the same as before there were any, so that its repeat is known.
 */
function hashedOptions(options: ImageOptions): Record<string, string | number | boolean | undefined> {
  const { quality, maxWidth, maxHeight, stripMetadata, pageSize, title, author, marginMm } = options;
  const other = <T>(value: T, byDefault: T): T | undefined => (value === byDefault ? undefined : value);
  return {
    quality,
    maxWidth,
    maxHeight,
    stripMetadata,
    pageSize,
    title,
    author,
    marginMm: other(marginMm, 0),
    pageOrientation: other(options.pageOrientation, PageOrientation.AUTO),
    fit: other(options.fit, ImageFit.CONTAIN),
    picturesPerPage: other(options.picturesPerPage, 1),
    pageOrder: other(options.pageOrder, PageOrder.GIVEN),
    standard: other(options.standard, PdfStandard.NONE),
  };
}
