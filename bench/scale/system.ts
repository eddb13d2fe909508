// The system as processes of their own, with as many workers and brokers as a run of `pnpm bench scale` asks for.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  freePort,
  startNats,
  startNatsCluster,
  startOtlpReceiver,
  startS3,
  startService,
  type ServiceProcess,
} from '@sluice/dev';
import { startSink } from '../email/sink-process.ts';

/** What the workers do: mails into a sink, pictures into PDFs, or nothing but a result. */
export type Work = 'mails' | 'pictures' | 'no-op';

export interface Shape {
  readonly work: Work;
  /** Processes that work. */
  readonly replicas: number;
  /** One broker, or three with every stream on each. */
  readonly brokers: 1 | 3;
  /** Whether each write is on the disk before it is acknowledged. */
  readonly syncAlways: boolean;
}

export interface System {
  readonly gatewayUrl: string;
  readonly natsUrl: string;
  /** Processes by what they are, to read their CPU. */
  readonly processes: Readonly<Record<string, readonly number[]>>;
  stop(): Promise<void>;
}

const SYNC_ALWAYS = 'jetstream { sync_interval: always }\n';
const READY_MS = 120_000;

export async function startSystem(shape: Shape, signal: AbortSignal): Promise<System> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-scale-'));
  const stops: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).toReversed()) await each();
  };
  try {
    const { url: natsUrl, pids: brokers } = await startBrokers(shape, stops);
    const s3 = await startS3({ port: await freePort(), directory: join(directory, 's3'), etagHash: 'sha1' });
    stops.push(() => s3.close());
    const otlp = await startOtlpReceiver({ port: await freePort(), targets: () => [] });
    stops.push(() => otlp.close());
    const sink = await startSink('bare');
    stops.push(() => sink.stop());
    const common = {
      SLUICE_ENV: 'dev',
      HOST: '127.0.0.1',
      NATS_URL: natsUrl,
      NATS_STORE_BYTES: String(2 ** 32),
      S3_ENDPOINT: s3.url,
      S3_PUBLIC_ENDPOINT: s3.url,
      S3_ACCESS_KEY_ID: s3.accessKeyId,
      S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      SMTP_URLS: `smtp://127.0.0.1:${sink.port}`,
      OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
    };
    const launch = async (service: string, name: string, extra: Record<string, string>): Promise<ServiceProcess> => {
      const env = { ...common, OPS_PORT: String(await freePort()), INSTANCE: name, ...extra };
      const started = startService({ name, service, env, onLine: () => undefined });
      stops.push(() => started.stop());
      await ready(started, signal);
      return started;
    };
    const port = await freePort();
    const gateway = await launch('gateway', 'gateway', {
      PORT: String(port),
      GRPC_PORT: String(await freePort()),
      READ_MODEL_URL: `sqlite:${join(directory, 'history.sqlite')}`,
      NATS_REPLICAS: String(shape.brokers),
    });
    const workers: number[] = [];
    for (let n = 1; n <= shape.replicas; n += 1) {
      if (shape.work === 'no-op') workers.push(await startNoop(natsUrl, stops));
      else {
        const service = shape.work === 'mails' ? 'email' : 'image';
        workers.push((await launch(service, `${service}-${n}`, { MALLOC_ARENA_MAX: '2' })).pid ?? 0);
      }
    }
    return {
      gatewayUrl: `http://127.0.0.1:${port}`,
      natsUrl,
      processes: {
        gateway: [gateway.pid ?? 0],
        brokers,
        workers,
        ...(shape.work === 'mails' ? { sink: [sink.pid] } : {}),
        store_and_traces: [process.pid],
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startBrokers(
  { brokers, syncAlways }: Shape,
  stops: (() => unknown)[],
): Promise<{ url: string; pids: readonly number[] }> {
  const config = syncAlways ? SYNC_ALWAYS : '';
  if (brokers === 1) {
    const nats = await startNats(config === '' ? {} : { config });
    stops.push(() => nats.stop());
    return { url: nats.url, pids: [nats.pid] };
  }
  const cluster = await startNatsCluster({}, config);
  stops.push(() => cluster.stop());
  return { url: cluster.urls.join(','), pids: [...cluster.nodes.values()].map(({ pid }) => pid) };
}

async function startNoop(natsUrl: string, stops: (() => unknown)[]): Promise<number> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'noop-worker.ts'), [natsUrl], { stdio: 'inherit' });
  stops.push(() => child.kill());
  await once(child, 'message');
  return child.pid ?? 0;
}

async function ready(service: ServiceProcess, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (service.notReady !== undefined) {
    signal.throwIfAborted();
    if (performance.now() > deadline || service.state === 'stopped') {
      throw new Error(`${service.name} does not get ready: ${service.notReady}`);
    }
    await sleep(100);
  }
}
