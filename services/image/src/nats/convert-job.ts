import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  CancelledSchema,
  channels,
  ImageConvertedSchema,
  type ConvertImage,
  type ImageConverted,
} from '@sluice/contracts';
import { encode, stepId } from '@sluice/messaging';
import type { Context, Message, Outcome } from '@sluice/pipeline';
import type { ObjectStore } from '@sluice/storage';
import { currentSpan, workTraceparent, withSpan } from '@sluice/telemetry';
import { convert, type Conversion } from '../convert/convert.ts';
import type { DecoderPool } from '../convert/decode/decoder-pool.ts';
import { ConversionError, ConversionSlowError } from '../convert/errors.ts';
import type { ConvertLimits } from '../convert/options.ts';
import { fetchPictures, SourceFetchError, type FetchPicturesSettings } from '../fetch/fetch-pictures.ts';
import type { ImageMetrics } from '../metrics.ts';
import { optionsOfMessage } from './message-options.ts';
import { pageSources, SourceMissingError } from './message-pictures.ts';

/** How often a conversion that is slow by the clock is tried; each time it may take that much longer. */
export const timeAttempts = 3;

/** How often a picture is asked for at its URL while the failure may pass. */
const fetchAttempts = 4;

/** What the two pipelines work with. */
export interface ConvertJobDeps {
  readonly store: Pick<ObjectStore, 'get' | 'upload' | 'head'>;
  readonly decoders: DecoderPool;
  readonly limits: ConvertLimits;
  /** Whether JPEGs that are copied are read through for damage. */
  readonly verifyJpeg: boolean;
  readonly convertTimeoutMs: number;
  readonly fetch: FetchPicturesSettings;
  readonly metrics: ImageMetrics;
  readonly now: () => Date;
}

/**
 * Converts the pictures of one job into one PDF and says how it ended. A picture that cannot be converted is a result,
 * told once; a store that is away is no attempt (store-away.ts). A repeat writes the same bytes to the same key and tells the
 * same result under the same id.
 */
export async function convertJob(message: Message<ConvertImage>, context: Context<ConvertJobDeps>): Promise<Outcome> {
  const { deps, log } = context;
  const startedMs = performance.now();
  try {
    const conversion = await withSpan('convert image', {}, async (span) => {
      const done = await convertInTime(message, context);
      span.setAttributes({
        'image.path': done.path,
        'image.pages': done.pageCount,
        'image.pages_verified': done.pictures.filter(({ verified }) => verified).length,
        'image.format': done.pictures[0]?.format ?? '',
        'image.width': done.width,
        'image.height': done.height,
        'image.input_bytes': done.inputBytes,
        'image.output_bytes': done.outputBytes,
      });
      return done;
    });
    deps.metrics.succeeded(conversion, performance.now() - startedMs);
    return publishResult(message, context, { case: 'succeeded', value: succeeded(message.data, conversion) });
  } catch (error) {
    // The source of a job is deleted when the job has ended. So a missing one means that this is a repeat of work that
    // was done, or that the source was deleted first.
    if (error instanceof SourceMissingError && (await deps.store.head(message.data.outputKey))) {
      return { kind: 'skip', reason: 'converted before' };
    }
    const known =
      error instanceof ConversionError || error instanceof SourceMissingError || error instanceof SourceFetchError;
    if (!known) throw error;
    if (error instanceof SourceFetchError && error.temporary && message.attempt < fetchAttempts) {
      return { kind: 'retry', reason: error.message };
    }
    if (error.code === 'decoder_crashed') log.warn({ err: error, job_id: message.data.jobId }, 'a decoder crashed');
    // The crash may have another cause than this picture (memory pressure), so it is tried once more, and only once.
    if (error.code === 'decoder_crashed' && message.attempt === 1) return { kind: 'retry', reason: error.message };
    // On a busy machine a good picture may be slow: it is tried again with more time.
    if (error instanceof ConversionSlowError && message.attempt < timeAttempts) {
      log.warn({ err: error, job_id: message.data.jobId }, 'the conversion took too long and is tried again');
      return { kind: 'retry', reason: error.message };
    }
    deps.metrics.failed(error.code, performance.now() - startedMs);
    log.info(
      { job_id: message.data.jobId, code: error.code, detail: error.message },
      'the picture cannot be converted',
    );
    return publishResult(message, context, { case: 'failed', value: failureOf(error.code, error.message) });
  }
}

async function convertInTime(
  { data: work, attempt }: Message<ConvertImage>,
  { deps, signal }: Context<ConvertJobDeps>,
): Promise<Conversion> {
  const { store, limits, decoders, verifyJpeg } = deps;
  const fetched = await fetchPictures(work, store, deps.fetch, signal);
  const timeoutMs = deps.convertTimeoutMs * Math.min(attempt, timeAttempts);
  const timedOut = new AbortController();
  const timer = setTimeout(() => {
    timedOut.abort(new ConversionSlowError(`not converted within ${timeoutMs} ms`));
  }, timeoutMs);
  const signalOrTimeout = AbortSignal.any([signal, timedOut.signal]);
  const upload = store.upload(work.outputKey, { contentType: 'application/pdf', signal: signalOrTimeout });
  try {
    const sources = pageSources(fetched, store, signalOrTimeout);
    const conversion = await convert(sources, optionsOfMessage(work.options), upload, {
      limits,
      decoders,
      verifyJpeg,
      signal: signalOrTimeout,
    });
    await upload.finish();
    return conversion;
  } catch (error) {
    await upload.abandon();
    // An abort makes reads and writes fail with errors of their own; the timeout is the cause.
    throw timedOut.signal.aborted ? (timedOut.signal.reason as Error) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Says that a job was cancelled with nothing done. */
export const reportCancelled = (message: Message<ConvertImage>, context: Context<ConvertJobDeps>): Outcome =>
  publishResult(message, context, { case: 'cancelled', value: create(CancelledSchema) });

/** Whether an earlier attempt has written the PDF: its result may have been lost with its process. */
export const isConverted = async (
  message: Message<ConvertImage>,
  { deps }: Context<ConvertJobDeps>,
): Promise<boolean> => message.attempt > 1 && (await deps.store.head(message.data.outputKey)) !== undefined;

type JobOutcome = Exclude<ImageConverted['outcome'], { case: undefined }>;

function publishResult(message: Message<ConvertImage>, context: Context<ConvertJobDeps>, outcome: JobOutcome): Outcome {
  const { jobId, replays } = message.data;
  const result = create(ImageConvertedSchema, {
    jobId,
    replays,
    outcome,
    finishedAt: timestampFromDate(context.deps.now()),
    attempt: message.attempt,
    traceparent: workTraceparent() ?? '',
  });
  currentSpan()?.setAttribute('image.outcome', outcome.case === 'failed' ? outcome.value.code : outcome.case);
  const channel = channels.imageConverted;
  context.emit(channel.template, encode(channel, result), { id: stepId(jobId, 'converted', replays) });
  return { kind: 'ack' };
}

function failureOf(code: string, detail: string): Extract<JobOutcome, { case: 'failed' }>['value'] {
  return { $typeName: 'sluice.v1.Failure', code, detail: detail.slice(0, 500) };
}

function succeeded(work: ConvertImage, conversion: Conversion): Extract<JobOutcome, { case: 'succeeded' }>['value'] {
  return {
    $typeName: 'sluice.v1.ImageResult',
    key: work.outputKey,
    pages: conversion.pageCount,
    width: conversion.width,
    height: conversion.height,
    inputBytes: BigInt(conversion.inputBytes),
    outputBytes: BigInt(conversion.outputBytes),
    sha256: conversion.sha256,
    path: conversion.path,
  };
}
