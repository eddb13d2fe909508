import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startStack, type Stack } from '@sluice/dev';
import { findPart, findPrometheus, type PartName } from '../tools/find-part.ts';
import { startMailpit, startSeaweedFs, type Mailpit, type SeaweedFs } from './store-parts.ts';
import {
  serviceTargets,
  startCollector,
  startJaeger,
  startLoki,
  startNatsExporter,
  startPrometheusPart,
  type Collector,
  type Jaeger,
  type Loki,
  type PrometheusPart,
} from './telemetry-parts.ts';

/** Without these nothing of the system can be looked at. */
const NEEDED = ['collector', 'exporter', 'jaeger', 'prometheus'] as const;
/** In place of these the embedded ones do, or nothing. */
const OPTIONAL = ['loki', 'mailpit', 'seaweedfs'] as const;

export type Programs = Readonly<
  Record<(typeof NEEDED)[number], string> & Partial<Record<(typeof OPTIONAL)[number], string>>
>;

/** The programs that are at hand, if those are among them without which nothing can be shown; and which are not. */
export async function findPrograms(): Promise<{ readonly programs?: Programs; readonly missing: readonly PartName[] }> {
  const found = await Promise.all(
    [...NEEDED, ...OPTIONAL].map(
      async (name) => [name, await (name === 'prometheus' ? findPrometheus() : findPart(name))] as const,
    ),
  );
  const missing = found.filter(([, path]) => path === undefined).map(([name]) => name);
  if (NEEDED.some((name) => missing.includes(name))) return { missing };
  return { programs: Object.fromEntries(found) as unknown as Programs, missing };
}

/** The system of docker-compose.yml as processes of this machine: its parts with their own configurations. */
export interface System {
  readonly stack: Stack;
  readonly collector: Collector;
  readonly jaeger: Jaeger;
  readonly loki: Loki | undefined;
  readonly prometheus: PrometheusPart;
  readonly mailpit: Mailpit | undefined;
  readonly seaweedFs: SeaweedFs | undefined;
  /** For what a test starts itself. */
  readonly folder: string;
  stop(): Promise<void>;
}

/** Starts the parts, then the services on them, then what scrapes both. */
export async function startSystem(programs: Programs): Promise<System> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-parts-'));
  const stops: (() => Promise<void>)[] = [() => rm(folder, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).toReversed()) await each();
  };
  const started = async <T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
    const part = await starting;
    stops.push(() => part.stop());
    return part;
  };
  const at = (name: string): string => join(folder, name);
  try {
    const prometheusPort = await freePort();
    const { loki: lokiProgram, seaweedfs, mailpit: mailpitProgram } = programs;
    const [jaeger, loki, seaweedFs, mailpit] = await Promise.all([
      started(startJaeger(programs.jaeger, at('jaeger'), `http://127.0.0.1:${prometheusPort}`)),
      lokiProgram === undefined ? undefined : started(startLoki(lokiProgram, at('loki'))),
      seaweedfs === undefined ? undefined : started(startSeaweedFs(seaweedfs, at('s3'))),
      mailpitProgram === undefined ? undefined : started(startMailpit(mailpitProgram, at('mail'))),
    ]);
    const collector = await started(startCollector(programs.collector, at('collector'), { jaeger, loki }));
    const stack = await started(
      startStack({
        dataDirectory: at('stack'),
        imageReplicas: 2,
        ...(mailpit === undefined ? {} : { smtpUrls: mailpit.smtpUrl }),
        env: {
          '*': { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...(seaweedFs === undefined ? {} : storeEnv(seaweedFs)) },
          gateway: { RATE_LIMIT_RECIPIENT_PER_HOUR: '0' },
        },
      }),
    );
    const exporter = await started(startNatsExporter(programs.exporter, at('exporter'), stack.urls.natsMonitor));
    const targets = new Map([
      ...serviceTargets(stack),
      ['nats', [exporter.metrics]],
      ['span-metrics', [collector.spanMetrics]],
      ['collector', [collector.metrics]],
      ['jaeger', [jaeger.metrics]],
      ['loki', loki === undefined ? [] : [new URL(loki.url).host]],
      ['prometheus', [`127.0.0.1:${prometheusPort}`]],
    ]);
    const prometheus = await started(
      startPrometheusPart(programs.prometheus, at('prometheus'), prometheusPort, targets),
    );
    return { stack, collector, jaeger, loki, prometheus, mailpit, seaweedFs, folder, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const storeEnv = ({ url, accessKeyId, secretAccessKey }: SeaweedFs): Readonly<Record<string, string>> => ({
  S3_ENDPOINT: url,
  S3_PUBLIC_ENDPOINT: url,
  S3_ACCESS_KEY_ID: accessKeyId,
  S3_SECRET_ACCESS_KEY: secretAccessKey,
});
