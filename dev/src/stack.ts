import type { StackUrls } from '@sluice/cli';
import { jobKindEntries, type JobKindName, type jobKinds } from '@sluice/contracts';
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultProxy } from './faults/proxy.ts';
import { assertPortFree, freePort } from './free-port.ts';
import { startNats, type NatsProcess } from './nats/server.ts';
import { startOtlpReceiver, type OtlpReceiver } from './otlp/receiver.ts';
import { startS3, type S3Server } from './s3/server.ts';
import { startService, type ServiceProcess } from './service-process.ts';
import { startSmtpSink, type SmtpSink, type StartSmtpSinkOptions } from './smtp/sink.ts';
import { writableFolder } from './writable.ts';
import { buildConsole } from './console-build.ts';

/** The services that work on jobs, in the order of the registry of job kinds. */
const jobServices = [...new Set(jobKindEntries.map(([, { service }]) => service as JobService))];
/** Every service, in the order of their start. */
export const serviceNames: readonly ServiceName[] = ['gateway', ...jobServices, 'client'];
/** Those without a port of their own in `devPorts`. */
const furtherServices = jobServices.filter((service) => service !== 'image' && service !== 'email');

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
  /** And the following ones, for the other services of the registry of job kinds in its order. */
  furtherOps: 9130,
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
  readonly onProcesses?: (pids: readonly number[], urls: StackUrls) => void;
  /** Ends a start that still waits: `startStack` stops what it has started and throws. */
  readonly signal?: AbortSignal;
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
   * Niceness of the services that work on accepted jobs once they are ready, 0 (the default) to 19: the gateway, whose
   * clients wait for an answer, is scheduled before them.
   */
  readonly workNiceness?: number;
  /** Only these services. All four unless told otherwise. */
  readonly services?: readonly ServiceName[];
}

type JobService = (typeof jobKinds)[JobKindName]['service'];
export type ServiceName = 'gateway' | 'client' | JobService;

/** A running system. */
export interface Stack {
  readonly urls: StackUrls;
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

/**
 * How long a start without a terminal may take: below the time limit of the suites' hooks, so that the error says what
 * was not ready. A person sees what the start waits for and decides with Ctrl-C, so `interactive` has no limit.
 */
const READY_TIMEOUT_MS = 150_000;
const WAITING_LINE_MS = 5_000;
/** What the broker's streams share: nats-server itself takes at most three quarters of what is free. */
const MOST_STORE_BYTES = 8 * 2 ** 30;
async function storeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return Math.min(MOST_STORE_BYTES, Math.floor((bavail * bsize) / 2));
}

/** Public, so refused by every service outside `dev`. */
const DEV_KEY = { accessKeyId: 'sluice-dev', secretAccessKey: 'sluice-dev-secret' };

/**
 * Starts the whole system on embedded parts: a real nats-server, S3, SMTP, an OTLP receiver and the services. Resolves
 * when every service is ready.
 *
 * @throws {PortInUseError} when a given port is taken, before any data is touched.
 * @throws {NotReadyError} when a service cannot become ready.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const progress = options.onProgress ?? (() => {});
  const wanted: readonly ServiceName[] = options.services ?? serviceNames;
  const replicas = options.imageReplicas ?? 1;
  const { ports, signal } = options;
  if (ports !== undefined) await assertPortsFree(ports, replicas);
  const port = (name: keyof typeof devPorts): Promise<number> => Promise.resolve(ports?.[name] ?? freePort());
  const data = options.dataDirectory;

  const stops: (() => Promise<unknown>)[] = [];
  const services: ServiceProcess[] = [];
  const stop = once(async () => {
    await Promise.all(services.map((service) => service.stop()));
    for (const each of stops.reverse()) await each();
  });

  try {
    // Beside the start of the broker: it takes two seconds after a change of its sources, and nothing else waits for it.
    const consoleBuilt = wanted.includes('gateway') ? buildConsole(progress) : Promise.resolve();
    // Before the data: of two starts at the same moment, only the one that gets this port goes on to the data.
    const otlp = await startOtlpReceiver({
      port: await port('otlp'),
      targets: () => services.map(({ service, opsUrl }) => ({ service, url: opsUrl })),
    });
    stops.push(() => otlp.close());
    if (options.fresh === true) await rm(data, { recursive: true, force: true });
    await writableFolder(data, 'run from a copy of the repository that you own');

    const nats = await startNats({
      port: await port('nats'),
      monitorPort: await port('natsMonitor'),
      storeDir: join(data, 'nats'),
      ownSession: options.interactive === true,
      ...(options.natsConfig === undefined ? {} : { config: options.natsConfig }),
      ...(options.interactive === true ? { readyTimeoutMs: Infinity } : {}),
      ...(signal === undefined ? {} : { signal }),
      log: progress,
    });
    stops.push(() => nats.stop());
    progress(`nats-server ${nats.version ?? ''} (${nats.from})`);

    const s3 = await startS3({
      port: await port('s3'),
      directory: join(data, 's3'),
      // The ETag is not compared with another store's here, and the store shares the cores with the services.
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

    const gatewayPort = await port('gateway');
    const grpcPort = await port('grpc');
    const urls: StackUrls = {
      gateway: `http://127.0.0.1:${gatewayPort}`,
      grpc: `127.0.0.1:${grpcPort}`,
      nats: nats.url,
      natsMonitor: nats.monitorUrl,
      s3: s3.url,
      smtp: mail.smtpUrl,
      mail: mail.url,
      otlp: otlp.url,
    };
    const announce = (): void => {
      const pids = services.map((service) => service.pid).filter((pid) => pid !== undefined);
      options.onProcesses?.([nats.pid, ...pids], urls);
    };
    announce();
    const common = {
      SLUICE_ENV: 'dev',
      HOST: '127.0.0.1',
      NATS_URL: nats.url,
      NATS_STORE_BYTES: String(await storeBytes(data)),
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
        onSpawn: announce,
        onExit: (who, how, restartsInMs) => {
          const next = restartsInMs === undefined ? 'not started again' : `starting again in ${restartsInMs} ms`;
          progress(`${who} ended (${how}), ${next}`);
        },
      });
      services.push(started);
      announce();
    };
    const untilReady = (waiting: readonly ServiceProcess[]): Promise<void> =>
      allReady(waiting, progress, options.interactive === true ? Infinity : READY_TIMEOUT_MS, signal);

    // The gateway makes the streams that the others read.
    if (wanted.includes('gateway')) {
      await consoleBuilt;
      progress('starting gateway');
      const gateway = {
        PORT: String(gatewayPort),
        GRPC_PORT: String(grpcPort),
        READ_MODEL_URL: `sqlite:${join(data, 'history.sqlite')}`,
        // What `GET /` of the gateway links besides its own pages.
        HOME_LINKS: `Mail=${mail.url}, Traces and logs=${otlp.url}, Charts=${otlp.url}/charts`,
        ...(options.splitGateway === true ? { ROLE: 'api' } : {}),
      };
      await launch('gateway', 'gateway', await port('gatewayOps'), gateway);
      await untilReady(services);
    }
    const waiting = services.length;
    progress(`starting ${wanted.filter((name) => name !== 'gateway').join(', ')}`);
    if (options.splitGateway === true) await launch('gateway', 'gateway-worker', await freePort(), { ROLE: 'worker' });
    if (wanted.includes('email')) await launch('email', 'email', await port('emailOps'));
    for (const [index, service] of furtherServices.entries()) {
      const opsPort = ports === undefined ? await freePort() : ports.furtherOps + index;
      if (wanted.includes(service)) await launch(service, service, opsPort);
    }
    if (wanted.includes('client')) await launch('client', 'client', await port('clientOps'));
    if (wanted.includes('image')) {
      for (let n = 1; n <= replicas; n += 1) {
        const opsPort = ports === undefined ? await freePort() : ports.imageOps + n - 1;
        await launch('image', replicas === 1 ? 'image' : `image-${n}`, opsPort, { MALLOC_ARENA_MAX: '2' });
      }
    }
    await untilReady(services.slice(waiting));

    return {
      urls,
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

/** A service did not become ready. The message has the service's own reasons. */
export class NotReadyError extends Error {
  override readonly name = 'NotReadyError';
  readonly code = 'not_ready';
}

/** Waits until every service is ready; says every few seconds which are not, and why. */
async function allReady(
  services: readonly ServiceProcess[],
  progress: (text: string) => void,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let nextLine = performance.now() + WAITING_LINE_MS;
  for (;;) {
    const waiting = services.filter((service) => service.notReady !== undefined);
    if (waiting.length === 0) return;
    const why = waiting.map(({ name, notReady }) => `${name} (${notReady})`).join(', ');
    if (waiting.some(({ state }) => state === 'stopped')) throw new NotReadyError(`cannot start: ${why}`);
    if (performance.now() > deadline) throw new NotReadyError(`not ready after ${timeoutMs / 1000} s: ${why}`);
    if (performance.now() > nextLine) {
      progress(`waiting for ${why}`);
      nextLine = performance.now() + WAITING_LINE_MS;
    }
    await sleep(100, undefined, signal === undefined ? {} : { signal });
  }
}

function once<R>(run: () => Promise<R>): () => Promise<R> {
  let result: Promise<R> | undefined;
  return () => (result ??= run());
}
