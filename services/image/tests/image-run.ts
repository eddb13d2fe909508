// A real broker with the system's streams, a real S3 endpoint, and the image service on them.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { channels, ConvertImageSchema, type ImageConverted, type ImageOptionsSchema } from '@sluice/contracts';
import { startNats, startS3, type S3Server } from '@sluice/dev';
import { connectNats, createBus, decoder, provision, stepId, topology } from '@sluice/messaging';
import { definePipeline, silentLogger } from '@sluice/pipeline';
import { loadConfig, serviceFields, type RunningService } from '@sluice/service';
import { createStore, type ObjectStore } from '@sluice/storage';
import type { Logger, Telemetry } from '@sluice/telemetry';
import { Registry } from 'prom-client';
import { imageFields } from '../src/config.ts';
import { startImage } from '../src/service.ts';

/** A conversion to ask for. */
export interface Asked {
  readonly jobId: string;
  /** Bytes travel in the message, unless they are to lie in the store. */
  readonly files?: readonly Buffer[];
  /** Pictures that the service fetches itself, behind the files. */
  readonly urls?: readonly string[];
  readonly stored?: boolean;
  readonly express?: boolean;
  readonly options?: MessageInitShape<typeof ImageOptionsSchema>;
  readonly outputKey?: string;
  readonly messageId?: string;
}

export interface ImageSystem {
  readonly s3: S3Server;
  readonly store: ObjectStore;
  readonly service: RunningService;
  ask(work: Asked): Promise<void>;
  /** Waits for the end of a job: its result, or why its message was given up. */
  ended(
    jobId: string,
  ): Promise<{ readonly result: ImageConverted | undefined; readonly deadLetter: string | undefined }>;
  /** Waits until every work stream is empty: results that are not published by then never will be. */
  settled(): Promise<void>;
  /** Results so far, repeats included. */
  readonly results: readonly ImageConverted[];
  pdf(jobId: string): Promise<Buffer>;
  metrics(): Promise<string>;
  close(): Promise<void>;
}

export async function startImageSystem(env: Readonly<Record<string, string>> = {}): Promise<ImageSystem> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-image-'));
  const [nats, s3] = await Promise.all([startNats(), startS3({ directory })]);
  const nc = await connectNats({ url: nats.url, name: 'image-test' });
  await provision(nc, topology);
  const bus = await createBus(nc);
  const { url: endpoint, accessKeyId, secretAccessKey, region } = s3;
  const store = createStore({ endpoint, region, bucket: 'sluice', accessKeyId, secretAccessKey });
  await store.ensureBucket();

  const results: ImageConverted[] = [];
  const deadLetters = new Map<string, string>();
  const wakes = new Set<() => void>();
  const changed = (): void => {
    for (const wake of wakes) wake();
  };
  const flow = { concurrency: 64, expiresMs: 1_000, idleHeartbeatMs: 250 };
  const collector = await definePipeline<ImageConverted>({
    name: 'image_converted',
    sources: [{ stream: 'RESULTS', consumer: 'image_converted' }],
    decode: decoder(channels.imageConverted),
    flow,
    handle: (message) => {
      results.push(message.data);
      changed();
      return Promise.resolve();
    },
  }).start({ nats: bus.port, deps: undefined, log: silentLogger });
  const decodeWork = decoder(channels.convertUrl);
  const dead = await definePipeline<Uint8Array>({
    name: 'dead_letters',
    sources: [{ stream: 'DLQ', consumer: 'dead_letters' }],
    decode: (bytes) => bytes,
    flow,
    handle: (message) => {
      const reason = [...message.headers].map(([name, values]) => `${name}: ${values.join(' ')}`).join('\n');
      deadLetters.set(decodeWork(message.data).jobId, reason);
      changed();
      return Promise.resolve();
    },
  }).start({ nats: bus.port, deps: undefined, log: silentLogger });

  const registry = new Registry() as unknown as Telemetry['registry'];
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const config = loadConfig(
    { ...serviceFields, ...imageFields },
    {
      SLUICE_ENV: 'dev',
      NATS_URL: nats.url,
      S3_ENDPOINT: endpoint,
      S3_REGION: region,
      S3_ACCESS_KEY_ID: accessKeyId,
      S3_SECRET_ACCESS_KEY: secretAccessKey,
      ...env,
    },
  );
  const log = silentLogger as unknown as Logger;
  const telemetry: Telemetry = { log, registry, shutdown: () => Promise.resolve() };
  const fault = (error: unknown): void => {
    throw error;
  };
  const service = await startImage({ config, log, telemetry, instance: 'image-1', version: 'test', fault });

  return {
    s3,
    store,
    service,
    results,
    async ask({ jobId, files = [], urls = [], stored = false, express = false, options = {}, outputKey, messageId }) {
      const sources = await Promise.all(
        files.map(async (file, index) => {
          const sizeBytes = BigInt(file.length);
          if (!stored) return { from: { case: 'content' as const, value: file }, sizeBytes };
          const key = `uploads/${jobId}/${index}`;
          await store.put(key, file, { contentType: 'application/octet-stream' });
          return { from: { case: 'key' as const, value: key }, sizeBytes };
        }),
      );
      const fetched = urls.map((value) => ({ from: { case: 'url' as const, value }, sizeBytes: 0n }));
      const channel =
        stored || urls.length > 0
          ? express
            ? channels.convertUrlExpress
            : channels.convertUrl
          : express
            ? channels.convertBinaryExpress
            : channels.convertBinary;
      const work = create(ConvertImageSchema, {
        jobId,
        sources: [...sources, ...fetched],
        options,
        outputKey: outputKey ?? `pdf/${jobId}.pdf`,
      });
      await bus.publish(channel, work, { id: messageId ?? stepId(jobId, 'work') });
    },
    ended: (jobId) =>
      new Promise((resolve) => {
        const look = (): void => {
          const result = results.find((each) => each.jobId === jobId);
          const deadLetter = deadLetters.get(jobId);
          if (result === undefined && deadLetter === undefined) return;
          wakes.delete(look);
          resolve({ result, deadLetter });
        };
        wakes.add(look);
        look();
      }),
    async settled() {
      for (const { name } of topology.streams.filter(({ kind }) => kind === 'work')) {
        while ((await bus.jsm.streams.info(name)).state.messages > 0) await sleep(20);
      }
    },
    pdf: async (jobId) => buffer((await store.get(`pdf/${jobId}.pdf`)).body),
    metrics: () => registry.metrics(),
    async close() {
      await service.stop();
      await Promise.all([collector.drain(), dead.drain()]);
      await bus.close();
      store.close();
      await Promise.all([nats.stop(), s3.close()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
