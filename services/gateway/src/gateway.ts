import type { AddressInfo } from 'node:net';
import { jobLog } from '@sluice/jobs';
import { createPipelineHost, type Bus, type PipelineHostSettings } from '@sluice/messaging';
import type { Instrument, Observer, Runtime } from '@sluice/pipeline';
import type { ObjectStore } from '@sluice/storage';
import type { HttpTelemetry, Logger } from '@sluice/telemetry';
import { KeysInProgress } from './accept/idempotency.ts';
import { commands } from './commands/commands.ts';
import { useLocalAccount } from './http/account.ts';
import { createApp, type App } from './http/app.ts';
import type { RouteDeps } from './http/deps.ts';
import type { IntakeLimits } from './images/take-source.ts';
import { orchestrator } from './orchestrator/orchestrator.ts';
import { emailRoutes } from './routes/emails.ts';
import { imageRoutes } from './routes/images.ts';
import { jobRoutes } from './routes/jobs.ts';
import { systemRoutes } from './routes/system.ts';
import { deadLetters } from './settle/dead-letters.ts';
import { emailSent, imageConverted } from './settle/results.ts';
import { startLiveJobs } from './timeline/live.ts';

export interface GatewaySettings {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly version: string;
  readonly limits: IntakeLimits;
  readonly drainTimeoutMs: number;
}

/** What a gateway stands on. */
export interface GatewayParts {
  readonly bus: Bus;
  readonly store: ObjectStore;
  readonly log: Logger;
  readonly settings: GatewaySettings;
  readonly now?: () => number;
  readonly http?: HttpTelemetry;
  readonly observers?: readonly Observer[];
  readonly instrument?: Instrument;
  readonly inject?: NonNullable<Runtime<unknown>['inject']>;
  readonly onStarted?: NonNullable<PipelineHostSettings['onStarted']>;
  readonly onFault: (error: unknown) => void;
}

export interface Gateway {
  readonly url: string;
  readonly app: App;
  /** Why it cannot take work; empty when it can. */
  reasons(): readonly string[];
  /** Stops accepting, answers what is open, drains the pipelines. The bus and the store stay open. */
  stop(): Promise<void>;
}

export const defaultLimits: IntakeLimits = {
  maxBytes: 50 * 1024 * 1024,
  maxPixels: 100_000_000,
  maxFiles: 20,
  inlineBytes: 256 * 1024,
};

/** Starts the HTTP server and the pipelines of a gateway. */
export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const { bus, store, log, settings } = parts;
  const now = parts.now ?? Date.now;
  const closing = new AbortController();
  const jobs = jobLog(bus, { now });
  const live = await startLiveJobs(bus, log);
  const host = createPipelineHost({
    nats: bus.port,
    log,
    observers: parts.observers ?? [],
    ...(parts.instrument === undefined ? {} : { instrument: parts.instrument }),
    ...(parts.inject === undefined ? {} : { inject: parts.inject }),
    ...(parts.onStarted === undefined ? {} : { onStarted: parts.onStarted }),
    onFault: parts.onFault,
  });
  const reasons = (): readonly string[] => [
    ...(closing.signal.aborted ? ['stopping'] : []),
    ...(bus.port.connected ? [] : ['no connection to NATS']),
    ...host.reasons(),
  ];

  const deps: RouteDeps = {
    bus,
    jobs,
    store,
    live,
    keys: new KeysInProgress(),
    log,
    now,
    limits: settings.limits,
    closing: closing.signal,
  };
  const app = await createApp({ log, version: settings.version, telemetry: parts.http });
  useLocalAccount(app);
  systemRoutes(app, { reasons });
  await imageRoutes(app, deps);
  emailRoutes(app, deps);
  jobRoutes(app, deps);

  await host.start(orchestrator, { bus, jobs, store, now });
  await host.start(imageConverted, { jobs });
  await host.start(emailSent, { jobs });
  await host.start(deadLetters, { jobs });
  await host.start(commands, { jobs, now, limits: settings.limits });
  await app.listen({ host: settings.host, port: settings.port });
  const { address, port } = app.server.address() as AddressInfo;

  return {
    url: `http://${address.includes(':') ? `[${address}]` : address}:${port}`,
    app,
    reasons,
    async stop() {
      closing.abort();
      await app.close();
      await host.drain(settings.drainTimeoutMs);
      await live.close();
    },
  };
}
