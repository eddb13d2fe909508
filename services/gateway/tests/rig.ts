import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { channels, EmailSentSchema, ImageConvertedSchema, type ConvertImage, type SendEmail } from '@sluice/contracts';
import { jobLog } from '@sluice/jobs';
import { startNats, startS3, type NatsProcess, type S3Server, type StartNatsOptions } from '@sluice/dev';
import {
  connectNats,
  createBus,
  createLifecycle,
  decoder,
  lifecycleObserver,
  stepId,
  type Bus,
} from '@sluice/messaging';
import { definePipeline, silentLogger, type Outcome, type RunningPipeline } from '@sluice/pipeline';
import { createStore, type ObjectStore } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { startGateway, type Gateway } from '../src/gateway.ts';
import { provisionSystem } from '../src/provision-system.ts';
import { defaultLimits, noRates, type GatewayDependencies, type GatewaySettings } from '../src/dependencies.ts';
import { contractOf, type OpenApiDocument } from './contract.ts';

/** An answer of the gateway, checked against its description. */
export interface Answer<Body = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
  readonly text: string;
}

export interface Call {
  readonly method?: string;
  readonly json?: unknown;
  readonly body?: Uint8Array | FormData | string | ReadableStream<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Reads the first part of the body and no more: for streams without an end. */
  readonly firstPart?: boolean;
}

/** A gateway on a real broker and a real S3 endpoint. */
export interface Rig {
  readonly nats: NatsProcess;
  readonly s3: S3Server;
  readonly bus: Bus;
  readonly store: ObjectStore;
  readonly gateway: Gateway;
  /** One request, by path, whose answer is checked against the OpenAPI document. */
  call<Body = Record<string, unknown>>(path: string, call?: Call): Promise<Answer<Body>>;
  /** Another replica on the same broker and store. */
  replica(dependencies?: RigDependencies): Promise<Gateway>;
  /** Stands in for the services that work: what they do with one message, by the stream it comes from. */
  workers(behaviour?: Behaviour): Promise<{ stop(): Promise<void> }>;
  stop(): Promise<void>;
}

export interface Behaviour {
  readonly convert?: (
    work: ConvertImage,
    attempt: number,
    signal: AbortSignal,
  ) => Promise<Outcome | 'corrupt_image' | 'unsupported_image' | 'cancelled' | void>;
  readonly send?: (work: SendEmail, attempt: number) => Promise<Outcome | 'cancelled' | void>;
  /** True for workers that finish what they are asked to cancel. */
  readonly ignoresCancelling?: boolean;
}

type RigDependencies = Omit<Partial<GatewayDependencies>, 'settings'> & {
  readonly settings?: Partial<GatewaySettings>;
  /** JOBS_PARTITIONS of the first gateway; 1 if absent. */
  readonly partitions?: number;
};

const quiet = silentLogger as unknown as Logger;

/** A gateway that is open, without limits, and on a free port. */
export const testSettings: GatewaySettings = {
  host: '127.0.0.1',
  port: 0,
  version: 'test',
  limits: defaultLimits,
  readModelUrl: 'sqlite::memory:',
  auth: 'off',
  rates: noRates,
  // How busy the machine is must not decide what a test sees.
  pressure: { maxBacklog: 50_000, maxWaitMs: 300_000, isBehind: () => false },
  drainTimeoutMs: 5_000,
};

async function firstPartOf(answer: Response): Promise<string> {
  const reader = answer.body?.getReader();
  const part = (await reader?.read())?.value as Uint8Array | undefined;
  await reader?.cancel();
  return part === undefined ? '' : Buffer.from(part).toString();
}

export async function startRig(overrides: RigDependencies = {}, broker: StartNatsOptions = {}): Promise<Rig> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-gateway-'));
  const [nats, s3] = await Promise.all([startNats(broker), startS3({ directory, buckets: ['sluice'] })]);
  const opened: { close(): unknown }[] = [];
  const openBus = async (name: string): Promise<Bus> => {
    const nc = await connectNats({ url: nats.url, name });
    const bus = await createBus(nc);
    const { settings, partitions = 1 } = overrides;
    if (opened.length === 0)
      await provisionSystem(bus, { storeBytes: settings?.storeBytes ?? 0, partitions }, Date.now());
    opened.push(bus);
    return bus;
  };
  const store = createStore({
    endpoint: s3.url,
    region: s3.region,
    bucket: 'sluice',
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
  });
  const gateways: Gateway[] = [];
  const workers: { stop(): Promise<void> }[] = [];
  const start = async (bus: Bus, dependencies: RigDependencies): Promise<Gateway> => {
    const gateway = await startGateway({
      bus,
      store,
      log: quiet,
      instance: `gateway-${gateways.length}`,
      onFault: (error) => {
        throw error;
      },
      ...dependencies,
      settings: {
        ...testSettings,
        ...dependencies.settings,
      },
    });
    gateways.push(gateway);
    return gateway;
  };

  const bus = await openBus('gateway/0');
  const gateway = await start(bus, overrides);
  const check = contractOf(gateway.app.swagger() as unknown as OpenApiDocument);

  const rig: Rig = {
    nats,
    s3,
    bus,
    store,
    gateway,
    async call(path, { method, json, body, headers, firstPart = false } = {}) {
      const verb = method ?? (json !== undefined || body !== undefined ? 'POST' : 'GET');
      const answer = await fetch(path.startsWith('http') ? path : `${gateway.url}${path}`, {
        method: verb,
        redirect: 'manual',
        // What acts without a body asks for a header that no form can send.
        headers: {
          ...(json !== undefined || (body === undefined && verb === 'POST')
            ? { 'content-type': 'application/json' }
            : {}),
          ...headers,
        },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
        ...(body === undefined ? {} : { body: body as string, duplex: 'half' as const }),
      });
      const text = firstPart ? await firstPartOf(answer) : await answer.text();
      const type = answer.headers.get('content-type') ?? '';
      check(verb, new URL(path, gateway.url).pathname, answer.status, type, text);
      return {
        status: answer.status,
        headers: answer.headers,
        text,
        body: (type.includes('json') ? JSON.parse(text) : {}) as never,
      };
    },
    replica: async (dependencies = {}) => start(await openBus(`gateway/${gateways.length}`), dependencies),
    async workers(behaviour = {}) {
      const running = await startWorkers(await openBus('workers'), store, behaviour);
      const stop = async (): Promise<void> => {
        await Promise.all(running.map((pipeline) => pipeline.drain({ timeoutMs: 2_000 })));
      };
      workers.push({ stop });
      return { stop };
    },
    async stop() {
      for (const worker of workers) await worker.stop();
      for (const each of gateways) await each.stop();
      for (const each of opened) await each.close();
      store.close();
      await Promise.all([nats.stop(), s3.close()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
  return rig;
}

/** Pipelines on the services' own consumers that do their effects for real (an object is written) and instantly. */
async function startWorkers(bus: Bus, store: ObjectStore, behaviour: Behaviour): Promise<RunningPipeline[]> {
  const retry = { maxAttempts: 3, baseMs: 20, maxMs: 50 };
  const jobs = jobLog(bus);
  const isCancelled = async (jobId: string): Promise<boolean> =>
    behaviour.ignoresCancelling !== true && (await jobs.read(jobId))?.job.cancelRequested === true;
  const converter = (name: 'url_to_pdf' | 'binary_to_pdf') =>
    definePipeline<ConvertImage>({
      name,
      sources: [
        { stream: 'IMAGES_EXPRESS', consumer: name },
        { stream: 'IMAGES', consumer: name },
      ],
      decode: decoder(channels.convertUrl),
      retry,
      flow: { expiresMs: 1_000, idleHeartbeatMs: 400 },
      handle: async ({ data, attempt }, { signal }) => {
        const asked = (await isCancelled(data.jobId)) ? 'cancelled' : await behaviour.convert?.(data, attempt, signal);
        if (asked !== undefined && typeof asked !== 'string') return asked;
        if (asked === undefined)
          await store.put(data.outputKey, Buffer.from('%PDF-1.7 a page'), { contentType: 'application/pdf' });
        const { jobId, outputKey, replays } = data;
        const outcome =
          asked === 'cancelled'
            ? ({ case: 'cancelled', value: {} } as const)
            : asked !== undefined
              ? ({ case: 'failed', value: { code: asked, detail: 'The image ends early.' } } as const)
              : ({
                  case: 'succeeded',
                  value: { key: outputKey, pages: data.sources.length, width: 8, height: 6, sha256: 'ab' },
                } as const);
        const message = create(ImageConvertedSchema, {
          jobId,
          attempt,
          replays,
          outcome: outcome as never,
          finishedAt: timestampNow(),
        });
        await bus.publish(channels.imageConverted, message, { id: stepId(jobId, 'result', replays) });
        return undefined;
      },
    });
  const mailer = (name: 'welcome_mailer' | 'notification_mailer') =>
    definePipeline<SendEmail>({
      name,
      sources: [
        { stream: 'EMAILS_EXPRESS', consumer: name },
        { stream: 'EMAILS', consumer: name },
      ],
      decode: decoder(channels.sendWelcome),
      retry,
      flow: { expiresMs: 1_000, idleHeartbeatMs: 400 },
      handle: async ({ data, attempt }) => {
        const asked = (await isCancelled(data.jobId)) ? 'cancelled' : await behaviour.send?.(data, attempt);
        if (asked !== undefined && asked !== 'cancelled') return asked;
        const { jobId, replays } = data;
        const value = { messageId: `<${jobId}@sluice.test>`, provider: 'primary', attempts: attempt };
        const message = create(EmailSentSchema, {
          jobId,
          attempt,
          replays,
          outcome:
            asked === 'cancelled' ? { case: 'cancelled', value: {} } : { case: 'succeeded', value: value as never },
          finishedAt: timestampNow(),
        });
        await bus.publish(channels.emailSent, message, { id: stepId(jobId, 'result', replays) });
        return undefined;
      },
    });
  const imageLife = createLifecycle(bus.port, { app: 'image', instance: 'image-1' });
  const emailLife = createLifecycle(bus.port, { app: 'email', instance: 'email-1' });
  const running: RunningPipeline[] = [];
  const runtime = { nats: bus.port, deps: undefined };
  for (const name of ['url_to_pdf', 'binary_to_pdf'] as const) {
    running.push(await converter(name).start({ ...runtime, observe: lifecycleObserver(imageLife) }));
  }
  for (const name of ['welcome_mailer', 'notification_mailer'] as const) {
    running.push(await mailer(name).start({ ...runtime, observe: lifecycleObserver(emailLife) }));
  }
  return running;
}

/** Asks until the answer is the wanted one; the test's own timeout ends it. */
export async function eventually<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
