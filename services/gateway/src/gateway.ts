import type { AddressInfo } from 'node:net';
import { jobLog } from '@sluice/jobs';
import {
  createLifecycle,
  createPipelineHost,
  followSwitchboard,
  lifecycleObserver,
  openSwitchboard,
  openBucket,
  type Lifecycle,
  type Bus,
  type PipelineHostSettings,
} from '@sluice/messaging';
import type { Instrument, Observer, Runtime, State } from '@sluice/pipeline';
import type { ObjectStore } from '@sluice/storage';
import type { HttpTelemetry, Logger } from '@sluice/telemetry';
import type { AcceptDeps } from './accept/accept-job.ts';
import { KeysInProgress } from './accept/idempotency.ts';
import { commands } from './commands/commands.ts';
import { API_KEYS, openKeyRing } from './accounts/api-keys.ts';
import { creditsOff, openCredits, type CreditSettings } from './credits/credits.ts';
import { accountRoutes } from './credits/routes.ts';
import { useAccess, type AccessSettings } from './http/account.ts';
import { createApp, type App } from './http/app.ts';
import type { RouteDeps } from './http/deps.ts';
import type { IntakeLimits } from './images/take-source.ts';
import { FLOWS, openFlowBook } from './lifecycle/flows.ts';
import { RateLimiter } from './limits/rate-limiter.ts';
import { startBrokerWatch, type BrokerWatch } from './pressure/broker-watch.ts';
import { Gate, type GateSettings } from './pressure/gate.ts';
import { watchLoopLag } from './pressure/loop-lag.ts';
import { orchestrator } from './orchestrator/orchestrator.ts';
import type { GatewayMetrics } from './metrics.ts';
import { startProjection } from './read-model/projection.ts';
import { openReadModel } from './read-model/read-model.ts';
import { emailRoutes } from './routes/emails.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { pipelineRoutes } from './routes/pipelines.ts';
import { eventRoutes } from './routes/events.ts';
import { historyRoutes } from './routes/history.ts';
import { imageRoutes } from './routes/images.ts';
import { jobRoutes } from './routes/jobs.ts';
import { statsRoute } from './routes/stats.ts';
import { uploadRoutes } from './routes/uploads.ts';
import { systemRoutes } from './routes/system.ts';
import { createRpc, mountRpc, startRpcServer } from './rpc/server.ts';
import { deadLetters } from './settle/dead-letters.ts';
import { emailSent, imageConverted } from './settle/results.ts';
import { startLiveJobs } from './timeline/live.ts';
import { webhookRoutes } from './webhooks/routes.ts';
import { WEBHOOK_SECRETS, webhookSecrets } from './webhooks/secrets.ts';
import { createWebhookAgent } from './webhooks/target.ts';
import { defaultWebhooks, webhooksPipeline, type WebhookSettings } from './webhooks/webhooks.ts';

export interface GatewaySettings {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Where gRPC clients are listened for, over cleartext HTTP/2; 0 picks a free one, undefined leaves it out. */
  readonly rpcPort?: number;
  readonly version: string;
  readonly limits: IntakeLimits;
  /** `keys`: every request needs an API key. `off`: everybody is the local account. */
  readonly auth: 'keys' | 'off';
  readonly rates: RateSettings;
  readonly pressure: GateSettings;
  /** A file, or `:memory:`, which is filled again at every start. */
  readonly readModelPath: string;
  /** {@link defaultWebhooks} if absent. */
  readonly webhooks?: WebhookSettings;
  /** Undefined leaves credits off. */
  readonly credits?: CreditSettings | undefined;
  readonly drainTimeoutMs: number;
}

/** Limits per window; 0 lifts one. */
export interface RateSettings {
  readonly globalPerSecond: number;
  readonly accountPerSecond: number;
  readonly recipientPerHour: number;
}

/** What a gateway stands on. */
export interface GatewayParts {
  readonly bus: Bus;
  readonly store: ObjectStore;
  readonly log: Logger;
  readonly settings: GatewaySettings;
  readonly now?: () => number;
  readonly http?: HttpTelemetry;
  readonly metrics?: GatewayMetrics;
  readonly observers?: readonly Observer[];
  readonly instrument?: Instrument;
  readonly inject?: NonNullable<Runtime<unknown>['inject']>;
  readonly onStarted?: NonNullable<PipelineHostSettings['onStarted']>;
  /** Names this replica in the timelines of jobs. */
  readonly instance: string;
  readonly onFault: (error: unknown) => void;
}

export interface Gateway {
  readonly url: string;
  readonly app: App;
  /** The port that gRPC clients connect to, if there is one. */
  readonly rpcPort: number | undefined;
  /** Resolves once the read model has caught up with what was there at the start. */
  readonly caughtUp: Promise<void>;
  /** What the broker says about streams and consumers. */
  readonly watch: BrokerWatch;
  /** Its pipelines and their states. */
  readonly pipelines: () => readonly { readonly name: string; readonly state: State }[];
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

export const noRates: RateSettings = { globalPerSecond: 0, accountPerSecond: 0, recipientPerHour: 0 };

/** Starts the HTTP server and the pipelines of a gateway. */
export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const { bus, store, log, settings } = parts;
  const now = parts.now ?? Date.now;
  const closing = new AbortController();
  const plain = jobLog(bus, { now });
  const jobs = parts.metrics?.counted(plain) ?? plain;
  const live = await startLiveJobs(bus, log);
  const report = createLifecycle(bus.port, { app: 'gateway', instance: parts.instance });
  const host = createPipelineHost({
    nats: bus.port,
    log,
    observers: [...(parts.observers ?? []), troubleObserver(report)],
    ...(parts.instrument === undefined ? {} : { instrument: parts.instrument }),
    ...(parts.inject === undefined ? {} : { inject: parts.inject }),
    ...(parts.onStarted === undefined ? {} : { onStarted: parts.onStarted }),
    onFault: parts.onFault,
  });
  const watch = startBrokerWatch(bus, log, { now });
  const lag = watchLoopLag(MAX_LOOP_LAG_MS);
  const gate = new Gate({ isBehind: lag.isHigh, ...settings.pressure });
  watch.onLook((state) => gate.look(state));
  const access = await openAccess(bus, settings, now);
  const model = openReadModel(settings.readModelPath);
  const projection = await startProjection({ bus, model, log, now });
  parts.metrics?.watchOpen(() => model.open());
  const flows = await openFlowBook(await openBucket(bus.nc, FLOWS));
  const reasons = (): readonly string[] => [
    ...(closing.signal.aborted ? ['stopping'] : []),
    ...(bus.port.connected ? [] : ['no connection to NATS']),
    ...host.reasons(),
  ];

  const calls = settings.webhooks ?? defaultWebhooks;
  const agent = createWebhookAgent({ targets: calls.targets, connectTimeoutMs: calls.timeoutMs });
  const secrets = webhookSecrets(await openBucket(bus.nc, WEBHOOK_SECRETS), now);
  // Open also when they are off: jobs that were charged before still end.
  const credits = await openCredits({ bus, jobs, log, now }, settings.credits ?? creditsOff);
  const accept: AcceptDeps = { log: jobs, now, gate, targets: calls.targets, credits };
  const deps: RouteDeps = {
    bus,
    jobs,
    accept,
    store,
    live,
    keys: new KeysInProgress(),
    log,
    now,
    limits: settings.limits,
    gate,
    access,
    closing: closing.signal,
  };
  const app = await createApp({ log, version: settings.version, telemetry: parts.http });
  useAccess(app, access);
  systemRoutes(app, { reasons });
  await imageRoutes(app, deps);
  uploadRoutes(app, deps);
  emailRoutes(app, deps);
  jobRoutes(app, deps);
  statsRoute(app, { watch, now });
  eventRoutes(app, deps, flows);
  deadLetterRoutes(app, { bus, jobs, store, now });
  pipelineRoutes(app, { bus, now, switchboard: await openSwitchboard(bus.nc) });
  historyRoutes(app, { model, flows });

  webhookRoutes(app, secrets);
  accountRoutes(app, { bus, credits: settings.credits === undefined ? undefined : credits });
  const rpc = createRpc({ ...deps, flows });
  await mountRpc(app, rpc);

  await host.start(orchestrator, { bus, jobs, store, now, report, credits });
  await host.start(imageConverted, { jobs });
  await host.start(emailSent, { jobs });
  await host.start(deadLetters, { jobs });
  await host.start(webhooksPipeline(calls), { agent, secrets, now });
  await host.start(commands, { accept, limits: settings.limits });
  const unfollow = await followSwitchboard(bus.nc, host);
  await app.listen({ host: settings.host, port: settings.port });
  const rpcServer =
    settings.rpcPort === undefined
      ? undefined
      : await startRpcServer(rpc, { host: settings.host, port: settings.rpcPort }, log);
  const { address, port } = app.server.address() as AddressInfo;

  return {
    url: `http://${address.includes(':') ? `[${address}]` : address}:${port}`,
    app,
    rpcPort: rpcServer?.port,
    caughtUp: projection.caughtUp,
    watch,
    pipelines: () => host.running.map(({ name, pipeline }) => ({ name, state: pipeline.state })),
    reasons,
    async stop() {
      closing.abort();
      await Promise.all([app.close(), rpcServer?.stop(settings.drainTimeoutMs)]);
      unfollow();
      await host.drain(settings.drainTimeoutMs);
      await agent.destroy();
      await credits.close();
      watch.close();
      lag.close();
      access.keys?.close();
      flows.close();
      await projection.close();
      model.close();
      await live.close();
    },
  };
}

/**
 * The gateway's own pipelines tell of trouble alone. Their every step would be a dozen events a job that say nothing
 * which the job's states do not.
 */
function troubleObserver(report: Lifecycle): Observer {
  const told = lifecycleObserver(report);
  return (event) => {
    if (event.type === 'message.retryScheduled' || event.type === 'message.deadLettered') told(event);
  };
}

/** Beyond this, taking in more makes every answer late. */
const MAX_LOOP_LAG_MS = 500;
const HOUR_MS = 3_600_000;

async function openAccess(bus: Bus, settings: GatewaySettings, now: () => number): Promise<AccessSettings> {
  const rates = await openBucket(bus.nc, { name: 'rates', about: 'tokens leased by replicas', ttlMs: 2 * HOUR_MS });
  const keys = settings.auth === 'off' ? undefined : await openKeyRing(await openBucket(bus.nc, API_KEYS));
  const { globalPerSecond, accountPerSecond, recipientPerHour } = settings.rates;
  return {
    keys,
    limiter: new RateLimiter(rates, now),
    limits: {
      global: { name: 'global', limit: globalPerSecond, windowMs: 1_000 },
      account: { name: 'account', limit: accountPerSecond, windowMs: 1_000 },
      recipient: { name: 'recipient', limit: recipientPerHour, windowMs: HOUR_MS },
    },
  };
}
