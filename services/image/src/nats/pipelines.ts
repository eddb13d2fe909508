import { channels, isSubjectToken, type ConvertImage } from '@sluice/contracts';
import { decoder } from '@sluice/messaging';
import { definePipeline, type Middleware, type Pipeline, type RetryPolicy } from '@sluice/pipeline';
import { convertJob, timeAttempts, type ConvertJobDeps } from './convert-job.ts';
import { isStoreAway, whileStoreIsAway } from './store-away.ts';

export interface ImagePipelineSettings {
  /** Jobs in flight, for each pipeline. */
  readonly slots: number;
  readonly convertTimeoutMs: number;
  readonly fetchTimeoutMs: number;
  readonly retry: Required<Pick<RetryPolicy, 'maxAttempts' | 'baseMs' | 'maxMs'>>;
  /** Around every conversion. */
  readonly use?: readonly Middleware<ConvertImage, ConvertJobDeps>[];
}

const decode = decoder(channels.convertUrl);

/** A job writes one key, which follows from its id: a message with another key was not published by the gateway. */
function decodeConvertImage(bytes: Uint8Array): ConvertImage {
  const message = decode(bytes);
  if (!isSubjectToken(message.jobId)) throw new TypeError('the job id is not a plain token');
  if (message.outputKey !== `pdf/${message.jobId}.pdf`) throw new TypeError("the output key is not the job's own");
  return message;
}

/**
 * The two converters: pictures in the store, and pictures that came with the message. Each reads its express lane and
 * its normal lane, four to one while both have work.
 */
export function imagePipelines(settings: ImagePipelineSettings): Pipeline<ConvertImage, ConvertJobDeps>[] {
  return ['url_to_pdf', 'binary_to_pdf'].map((name) =>
    definePipeline<ConvertImage, ConvertJobDeps>({
      name,
      sources: [
        { stream: 'IMAGES_EXPRESS', consumer: name, weight: 4 },
        { stream: 'IMAGES', consumer: name, weight: 1 },
      ],
      decode: decodeConvertImage,
      flow: { concurrency: settings.slots },
      // The conversion ends itself in time; the engine's limit is for what should never happen.
      timeout: { handlerMs: timeAttempts * settings.convertTimeoutMs + settings.fetchTimeoutMs + 30_000 },
      retry: { ...settings.retry, jitter: 'equal' },
      // A store that is away fails every conversion: none is begun until one has succeeded.
      breaker: { minSamples: 6, failureRatio: 0.5, coolDownMs: 4 * settings.retry.baseMs, counts: isStoreAway },
      use: [whileStoreIsAway(settings.retry), ...(settings.use ?? [])],
      handle: convertJob,
    }),
  );
}
