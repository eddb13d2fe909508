import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultProxy } from './faults/proxy.ts';
import { assertPortFree, freePort } from './free-port.ts';
import { startNats, type NatsProcess } from './nats/server.ts';
import { startOtlpReceiver, type OtlpReceiver } from './otlp/receiver.ts';
import { startS3, type S3Server } from './s3/server.ts';
import { startService, type ServiceProcess } from './service-process.ts';
import { startSmtpSink, type SmtpSink, type StartSmtpSinkOptions } from './smtp/sink.ts';

/** The ports `pnpm dev` serves on; a free one each when the stack is started for a test or the demo. */
export const devPorts = {
  gateway: 8080,
  grpc: 50051,
  nats: 4222,
  natsMonitor: 8222,
  s3: 9000,
  smtp: 1025,
  mail: 8025,
  otlp: 4318,
  gatewayOps: 9101,
  emailOps: 9102,
  clientOps: 9103,
  /** And the following ones for more replicas. */
  imageOps: 9110,
};

export type DevPorts = typeof devPorts;

/** `devPorts` moved up, for a machine where some of them are taken. */
export function portsWithOffset(offset: number): DevPorts {
  const moved = Object.entries(devPorts).map(([name, port]) => [name, port + offset]);
  return Object.fromEntries(moved) as DevPorts;
}

export interface StackOptions {
  /** Where the broker, the store and the read models keep their data. */
  readonly dataDirectory: string;
  /** Clear the data first. */
  readonly fresh?: boolean;
  /** Fixed ports, such as `devPorts`; free ones when absent. */
  readonly ports?: DevPorts;
  /** How many replicas of the image service. */
  readonly imageReplicas?: number;
  /** Text of a NATS configuration file: users, permissions, what flags cannot say. `env` gives the services theirs. */
  readonly natsConfig?: string;
  /** Every line of every service. */
  readonly onLine?: (source: string, line: string) => void;
  /** What the stack itself is doing, for a person. */
  readonly onProgress?: (text: string) => void;
  /** Called when the set of processes changes. */
  readonly onProcesses?: (pids: readonly number[]) => void;
  /** Environment of the services besides what the stack sets: `{ '*': {...}, email: {...} }`. */
  readonly env?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** A mail server to use instead of the embedded one. */
  readonly smtpUrls?: string;
  /** How the embedded mail server behaves: how much it keeps, whom it refuses. */
  readonly mail?: Pick<StartSmtpSinkOptions, 'maxMails' | 'refuse'>;
  /** Every answer of the embedded mail server comes this much later: a provider that is slow. */
  readonly mailLatencyMs?: number;
  /** A service that ended is started again after just this long, however often it ends: for tests that kill. */
  readonly restartAfterMs?: number;
  /**
   * A person's terminal is attached, whose Ctrl-C must reach the broker last. Off elsewhere: a session of its own has
   * Linux weigh the broker as a user of its own, which answers sooner and, on few cores, does a quarter less in all.
   */
  readonly interactive?: boolean;
  /** The gateway as two processes, one that answers clients and one that drives jobs. */
  readonly splitGateway?: boolean;
  /**
   * How much the services that work on accepted jobs yield to the rest of the machine, 0 (not at all, the default) to
   * 19: whoever waits for an answer of the gateway goes first.
   */
  readonly workNiceness?: number;
  /** Only these services. All four unless told otherwise. */
  readonly services?: readonly ServiceName[];
}

export type ServiceName = 'gateway' | 'email' | 'image' | 'client';

/** A running system. */
export interface Stack {
  readonly urls: {
    readonly gateway: string;
    /** For gRPC clients: host and port. */
    readonly grpc: string;
    readonly nats: string;
    readonly natsMonitor: string;
    readonly s3: string;
    readonly smtp: string;
    readonly mail: string;
    readonly otlp: string;
  };
  readonly services: readonly ServiceProcess[];
  readonly nats: NatsProcess;
  readonly s3: S3Server;
  readonly mail: SmtpSink;
  readonly otlp: OtlpReceiver;
  /** What runs where, for the table at the end of the start. */
  readonly versions: { readonly nats: string };
  /** Ends the services in order, then the parts under them. Safe to call twice. */
  stop(): Promise<void>;
}

const READY_TIMEOUT_MS = 60_000;
/** Known to everybody, so refused by every service outside `dev`. */
const DEV_KEY = { accessKeyId: 'sluice-dev', secretAccessKey: 'sluice-dev-secret' };

/** Starts the whole system on embedded parts: a real nats-server, S3, SMTP, an OTLP receiver and the services. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const progress = options.onProgress ?? (() => {});
  const wanted = options.services ?? ['gateway', 'email', 'image', 'client'];
  const replicas = options.imageReplicas ?? 1;
  const { ports } = options;
  if (ports !== undefined) await assertPortsFree(ports, replicas);
  const port = (name: keyof typeof devPorts): Promise<number> => Promise.resolve(ports?.[name] ?? freePort());
  const data = options.dataDirectory;
  if (options.fresh === true) await rm(data, { recursive: true, force: true });
  await mkdir(data, { recursive: true });

  const stops: (() => Promise<unknown>)[] = [];
  const services: ServiceProcess[] = [];
  const stop = once(async () => {
    await Promise.all(services.map((service) => service.stop()));
    for (const each of stops.reverse()) await each();
  });

  try {
    const nats = await startNats({
      port: await port('nats'),
      monitorPort: await port('natsMonitor'),
      storeDir: join(data, 'nats'),
      ownSession: options.interactive === true,
      ...(options.natsConfig === undefined ? {} : { config: options.natsConfig }),
      log: progress,
    });
    stops.push(() => nats.stop());
    const announce = (): void => {
      const pids = services.map((service) => service.pid).filter((pid) => pid !== undefined);
      options.onProcesses?.([nats.pid, ...pids]);
    };
    announce();
    progress(`nats-server ${nats.version ?? ''} (${nats.from})`);

    const s3 = await startS3({
      port: await port('s3'),
      directory: join(data, 's3'),
      // Nobody compares here, and the store shares the cores with what is run on it.
      etagHash: 'sha1',
      ...DEV_KEY,
    });
    stops.push(() => s3.close());
    const mail = await startSmtpSink({
      smtpPort: await port('smtp'),
      httpPort: await port('mail'),
      directory: join(data, 'mail'),
      ...options.mail,
    });
    stops.push(() => mail.close());
    let { smtpUrl } = mail;
    if (options.mailLatencyMs !== undefined) {
      const slow = await startFaultProxy({ targetPort: mail.smtpPort });
      stops.push(() => slow.close());
      slow.set({ down: { latencyMs: options.mailLatencyMs } });
      smtpUrl = `smtp://127.0.0.1:${slow.port}`;
    }
    const otlp = await startOtlpReceiver({ port: await port('otlp'), opsUrls: () => services.map((s) => s.opsUrl) });
    stops.push(() => otlp.close());
    progress('S3, SMTP and OTLP receiver');

    const gatewayPort = await port('gateway');
    const grpcPort = await port('grpc');
    const common = {
      SLUICE_ENV: 'dev',
      HOST: '127.0.0.1',
      NATS_URL: nats.url,
      S3_ENDPOINT: s3.url,
      S3_PUBLIC_ENDPOINT: s3.url,
      S3_ACCESS_KEY_ID: DEV_KEY.accessKeyId,
      S3_SECRET_ACCESS_KEY: DEV_KEY.secretAccessKey,
      SMTP_URLS: options.smtpUrls ?? smtpUrl,
      OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
      ...options.env?.['*'],
    };
    const launch = async (
      service: ServiceName,
      name: string,
      opsPort: number,
      extra: Record<string, string> = {},
    ): Promise<void> => {
      const env = { ...common, OPS_PORT: String(opsPort), INSTANCE: name, ...extra, ...options.env?.[service] };
      const started = startService({
        name,
        service,
        env,
        ...(name === 'gateway' ? {} : { niceness: options.workNiceness ?? 0 }),
        ...(options.restartAfterMs === undefined ? {} : { restartAfterMs: options.restartAfterMs }),
        onLine: options.onLine ?? (() => {}),
        onExit: (who, how, restartsInMs) => {
          const next = restartsInMs === undefined ? 'not started again' : `starting again in ${restartsInMs} ms`;
          progress(`${who} ended (${how}), ${next}`);
          if (restartsInMs !== undefined) setTimeout(announce, restartsInMs + 100).unref();
        },
      });
      services.push(started);
      announce();
    };

    // The gateway makes the streams that the others read.
    if (wanted.includes('gateway')) {
      const gateway = {
        PORT: String(gatewayPort),
        GRPC_PORT: String(grpcPort),
        ...(options.splitGateway === true ? { ROLE: 'api' } : {}),
      };
      await launch('gateway', 'gateway', await port('gatewayOps'), gateway);
      await untilReady(services, progress);
    }
    const waiting = services.length;
    if (options.splitGateway === true) await launch('gateway', 'gateway-worker', await freePort(), { ROLE: 'worker' });
    if (wanted.includes('email')) await launch('email', 'email', await port('emailOps'));
    if (wanted.includes('client')) await launch('client', 'client', await port('clientOps'));
    if (wanted.includes('image')) {
      for (let n = 1; n <= replicas; n += 1) {
        const opsPort = ports === undefined ? await freePort() : ports.imageOps + n - 1;
        await launch('image', replicas === 1 ? 'image' : `image-${n}`, opsPort, { MALLOC_ARENA_MAX: '2' });
      }
    }
    await untilReady(services.slice(waiting), progress);

    return {
      urls: {
        gateway: `http://127.0.0.1:${gatewayPort}`,
        grpc: `127.0.0.1:${grpcPort}`,
        nats: nats.url,
        natsMonitor: nats.monitorUrl,
        s3: s3.url,
        smtp: mail.smtpUrl,
        mail: mail.url,
        otlp: otlp.url,
      },
      services,
      nats,
      s3,
      mail,
      otlp,
      versions: { nats: nats.version ?? 'unknown' },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assertPortsFree(ports: DevPorts, replicas: number): Promise<void> {
  for (const [name, number] of Object.entries(ports)) await assertPortFree(number, name);
  for (let n = 1; n < replicas; n += 1) await assertPortFree(ports.imageOps + n, `ops port of image-${n + 1}`);
}

/** A service did not become ready; the message carries its own reasons. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError';
  readonly code = 'not_ready';
}

async function untilReady(services: readonly ServiceProcess[], progress: (text: string) => void): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  const waiting = new Map(services.map((service) => [service, 'no answer']));
  while (waiting.size > 0) {
    for (const service of waiting.keys()) {
      const answer = await fetch(`${service.opsUrl}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(
        () => undefined,
      );
      if (answer?.ok === true) {
        waiting.delete(service);
        progress(`${service.name} is ready`);
      } else if (answer !== undefined) {
        waiting.set(service, await answer.text());
      }
    }
    if (performance.now() > deadline) {
      const why = [...waiting].map(([service, reason]) => `${service.name}: ${reason.trim()}`).join('; ');
      throw new NotReadyError(`not ready after ${READY_TIMEOUT_MS / 1000} s: ${why}`);
    }
    if (waiting.size > 0) await sleep(100);
  }
}

function once<R>(run: () => Promise<R>): () => Promise<R> {
  let result: Promise<R> | undefined;
  return () => (result ??= run());
}
