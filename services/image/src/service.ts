import type { ConvertImage } from '@sluice/contracts';
import { jobLog, unlessCancelled, watchCancellations } from '@sluice/jobs';
import { createOutboundAgent } from '@sluice/outbound';
import type { RunningService } from '@sluice/service';
import { createStore } from '@sluice/storage';
import { createWorker, type WorkerContext } from '@sluice/service/worker';
import { imageSettings, type ImageConfig } from './config.ts';
import { DecoderPool, defaultDecoderSettings } from './convert/decode/decoder-pool.ts';
import { isConverted, reportCancelled, type ConvertJobDeps } from './nats/convert-job.ts';
import { startPdfCleanup } from './pdf-cleanup.ts';
import { createImageMetrics } from './metrics.ts';
import { imagePipelines } from './nats/pipelines.ts';
import { thisMachine } from './sizing.ts';

const HOUR_MS = 60 * 60_000;
const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 20_000;
const MAX_REDIRECTS = 5;

/** What the service is started with. */
export type ImageContext = WorkerContext & { readonly config: ImageConfig };

/** Starts the image service: both pipelines and the decoder processes. */
export async function startImage(context: ImageContext): Promise<RunningService> {
  const { config, log, telemetry } = context;
  const { sizing, limits, verifyJpeg, convertTimeoutMs } = imageSettings(config, thisMachine());
  log.info({ ...sizing }, 'sized for this machine');
  const worker = await createWorker('image', context);
  const store = createStore({
    endpoint: config.S3_ENDPOINT,
    region: config.S3_REGION,
    bucket: config.S3_BUCKET,
    accessKeyId: config.S3_ACCESS_KEY_ID,
    secretAccessKey: config.S3_SECRET_ACCESS_KEY,
    onOperation: (operation, outcome, durationMs) => metrics.stored(operation, outcome, durationMs),
  });
  const decoders = new DecoderPool({
    ...defaultDecoderSettings,
    size: sizing.decoders,
    memoryBytes: sizing.decoderMemoryBytes,
    cpuMs: convertTimeoutMs,
  });
  decoders.warm();
  const metrics = createImageMetrics(telemetry.registry, () => decoders.counts);
  const targets = config.FETCH_TARGETS ?? (config.SLUICE_ENV === 'dev' ? 'any' : 'public');
  const agent = createOutboundAgent({ targets, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  const fetch = {
    agent,
    targets,
    maxRedirects: MAX_REDIRECTS,
    timeoutMs: Math.min(ANSWER_TIMEOUT_MS, config.FETCH_TIMEOUT_MS),
    totalTimeoutMs: config.FETCH_TIMEOUT_MS,
    maxBytes: limits.maxInputBytes,
  };
  const deps = { store, decoders, limits, verifyJpeg, convertTimeoutMs, fetch, metrics, now: () => new Date() };
  const cancellations = watchCancellations(worker.bus.port);
  const cleanup = startPdfCleanup({ store, log, olderThanMs: Math.max(HOUR_MS, 2 * convertTimeoutMs) });
  const use = [
    unlessCancelled<ConvertImage, ConvertJobDeps>(jobLog(worker.bus), cancellations, {
      report: reportCancelled,
      wasDone: isConverted,
    }),
  ];
  for (const pipeline of imagePipelines({
    slots: sizing.slots,
    convertTimeoutMs,
    fetchTimeoutMs: config.FETCH_TIMEOUT_MS,
    retry: { maxAttempts: config.RETRY_ATTEMPTS, baseMs: config.RETRY_BASE_MS, maxMs: config.RETRY_MAX_MS },
    use,
  })) {
    await worker.host.start(pipeline, deps);
  }
  return {
    ready: () => worker.host.reasons(),
    warnings: worker.warnings,
    async stop() {
      const notDone = await worker.close();
      cleanup.stop();
      cancellations.close();
      await decoders.close();
      await agent.close();
      store.close();
      return notDone;
    },
  };
}
