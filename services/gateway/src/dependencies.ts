import { pictureLimits, type JobStream } from '@sluice/contracts';
import { jobLog, type JobLog } from '@sluice/jobs';
import {
  announcePresence,
  buckets,
  jobStreamsNow,
  openBucket,
  type Bus,
  type PipelineHostSettings,
  type PresenceAnnouncer,
} from '@sluice/messaging';
import type { Instrument, Observer, Runtime } from '@sluice/pipeline';
import type { ObjectStore } from '@sluice/storage';
import type { HttpTelemetry, Logger } from '@sluice/telemetry';
import { keyDays, type KeyDays } from './jobs/accept/key-days.ts';
import { DEFAULT_RESULT_TTL_MS } from './jobs/result-expiry.ts';
import { checkLifetimes } from './lifetimes-kept.ts';
import type { AccessSettings } from './accounts/access.ts';
import { openSessions } from './accounts/sessions.ts';
import { openKeyRing } from './accounts/api-keys.ts';
import { creditsOff, openCredits, type Credits, type CreditSettings } from './credits/credits.ts';
import { LateRefusals } from './accounts/late-refusals.ts';
import { RateLimiter } from './accounts/rate-limiter.ts';
import type { HomeLink } from './http/home-page.ts';
import type { BodySettings } from './http/bodies.ts';
import type { IntakeLimits } from './uploads/take-source.ts';
import type { GatewayMetrics } from './metrics.ts';
import { startBrokerWatch, type BrokerWatch } from './admission/broker-watch.ts';
import { BacklogShare } from './admission/backlog-share.ts';
import { BackpressureLimiter, type BackpressureSettings } from './admission/backpressure.ts';
import type { OpenStreamLimits } from './admission/open-streams.ts';
import { watchLoopLag } from './admission/loop-lag.ts';
import type { RetentionSettings } from './history/retention.ts';
import type { ReconcilingSettings } from './jobs/reconciler/reconciler.ts';
import type { GatewayTunings } from './pipeline-settings.ts';
import type { WebhookSettings } from './webhooks/webhooks.ts';

export interface GatewaySettings {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Where gRPC clients are listened for, over cleartext HTTP/2; 0 picks a free one, undefined leaves it out. */
  readonly rpcPort?: number;
  /** How long an RPC connection may be open without a call; two minutes if absent. */
  readonly rpcIdleMs?: number;
  /** Pages besides the API that `/` links. */
  readonly links?: readonly HomeLink[];
  /** Where the built console lies. Browsers get a page of links at `/` if absent, or if nothing is there. */
  readonly consoleDirectory?: string;
  /** Names that it answers to while keys are off, besides `localhost` and addresses. */
  readonly hosts?: readonly string[];
  /** Origins whose pages may call it. */
  readonly origins?: readonly string[];
  readonly version: string;
  readonly limits: IntakeLimits;
  /** Memory and speed of request bodies; `defaultBodies` if absent. */
  readonly bodies?: BodySettings;
  /** `keys`: every request needs an API key. `off`: every caller is the local account. */
  readonly auth: 'keys' | 'off';
  readonly rates: RateSettings;
  /** Event streams that may be open; `defaultOpenStreams` if absent. */
  readonly openStreams?: OpenStreamLimits;
  readonly pressure: BackpressureSettings;
  /** Where the read model lies: `sqlite:PATH`, `sqlite::memory:` or `postgres://...`. */
  readonly readModelUrl: string;
  /** How long and how much history is kept; `defaultRetention` if absent. */
  readonly retention?: RetentionSettings;
  /** `defaultWebhooks` if absent. */
  readonly webhooks?: WebhookSettings;
  /** How each pipeline is tuned, by its consumer; `defaultTunings` if absent. */
  readonly pipelines?: GatewayTunings;
  /** Undefined leaves credits off. */
  readonly credits?: CreditSettings | undefined;
  /** What unsubscribe links are signed with; undefined leaves the page out. */
  readonly unsubscribeSecret?: string | undefined;
  /** What return addresses of mails are signed with; undefined takes no bounces. */
  readonly bounces?: { readonly secret: string; readonly smtpPort?: number | undefined } | undefined;
  /** `DEFAULT_RESULT_TTL_MS` if absent. */
  readonly resultTtlMs?: number;
  /** `DEFAULT_ATTACHMENT_BYTES` if absent; 0 for no limit. */
  readonly attachmentBytesPerAccount?: number;
  /** `defaultReconciling` if absent. */
  readonly reconciling?: ReconcilingSettings;
  readonly drainTimeoutMs: number;
  /** Copies of streams and buckets; 1 if absent. */
  readonly replicas?: number;
  /** What the streams and buckets share; see `ProvisionOptions`. */
  readonly storeBytes?: number;
}

/** Limits per window; 0 lifts one. */
export interface RateSettings {
  readonly globalPerSecond: number;
  readonly accountPerSecond: number;
  readonly recipientPerHour: number;
}

/** What a gateway needs from its process. */
export interface GatewayDependencies {
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

/** What the API and the pipelines of a gateway share: the job log, the credits, and back-pressure. */
export interface SharedDependencies {
  readonly jobs: JobLog;
  /** The streams that hold jobs. */
  readonly jobStreams: readonly JobStream[];
  readonly credits: Credits;
  readonly now: () => number;
  /** What the broker says about streams and consumers. */
  readonly watch: BrokerWatch;
  readonly backpressure: BackpressureLimiter;
  /** Undefined with keys off: all callers are one account then. */
  readonly backlogShare: BacklogShare | undefined;
  readonly keyDays: KeyDays;
  /** Keys and rates, the same for HTTP, RPC and commands over NATS. */
  readonly access: AccessSettings;
  /** Tells every gateway that this replica is there. */
  readonly presence: PresenceAnnouncer;
  close(): Promise<void>;
}

/** Beyond this, taking in more makes every answer late. */
const MAX_LOOP_LAG_MS = 500;

export async function openSharedDependencies(dependencies: GatewayDependencies): Promise<SharedDependencies> {
  const { bus, log, settings, metrics, now = Date.now } = dependencies;
  const access = await openAccess(dependencies, now);
  const jobStreams = await jobStreamsNow(bus.jsm);
  const { jobsKeptMs } = await checkLifetimes(bus.jsm, settings.resultTtlMs ?? DEFAULT_RESULT_TTL_MS, jobStreams);
  const plain = jobLog(bus, { now });
  const jobs = metrics?.counted(plain) ?? plain;
  // Open also when they are off: jobs that were charged before still end.
  const credits = openCredits({ bus, jobs, now, jobsKeptMs, jobStreams }, settings.credits ?? creditsOff);
  const watch = startBrokerWatch(bus, log, {
    now,
    replicas: settings.replicas ?? 1,
    partitions: jobStreams.length,
  });
  const lag = watchLoopLag(MAX_LOOP_LAG_MS);
  const backpressure = new BackpressureLimiter({
    isBehind: lag.isHigh,
    stalls: bus.stalls,
    onAcquire: () => watch.workArrived(),
    ...settings.pressure,
  });
  watch.onLook((state) => backpressure.update(state));
  const { instance } = dependencies;
  const presence = announcePresence(bus.port, { service: 'gateway', instance, version: settings.version });
  return {
    jobs,
    jobStreams,
    credits,
    now,
    watch,
    backpressure,
    backlogShare: access.keys === undefined ? undefined : new BacklogShare(backpressure, now),
    keyDays: keyDays(await openBucket(bus.nc, buckets.keyDays)),
    access,
    presence,
    async close() {
      presence.leave();
      await access.sessions?.close();
      await access.keys?.close();
      watch.close();
      lag.close();
    },
  };
}

export const defaultLimits: IntakeLimits = {
  ...pictureLimits,
  maxFiles: 20,
  inlineBytes: 256 * 1024,
};

export const noRates: RateSettings = { globalPerSecond: 0, accountPerSecond: 0, recipientPerHour: 0 };

const HOUR_MS = 3_600_000;

/** Says what keeps a copy of a bucket from being current; the watch goes on by itself. */
export const watchFailed =
  (log: Logger) =>
  (error: unknown, what: string): void =>
    log.warn({ err: error, what }, 'a bucket cannot be watched');

async function openAccess({ bus, log, settings }: GatewayDependencies, now: () => number): Promise<AccessSettings> {
  const rates = await openBucket(bus.nc, buckets.rates);
  const onError = watchFailed(log);
  const keys = settings.auth === 'off' ? undefined : await openKeyRing(bus.nc, onError);
  const sessions = keys === undefined ? undefined : await openSessions(bus.nc, keys, { now, onError });
  const { globalPerSecond, accountPerSecond, recipientPerHour } = settings.rates;
  return {
    keys,
    sessions,
    limiter: new RateLimiter(rates, now),
    refusals: new LateRefusals(),
    limits: {
      global: { name: 'global', limit: globalPerSecond, windowMs: 1_000 },
      account: { name: 'account', limit: accountPerSecond, windowMs: 1_000 },
      recipient: { name: 'recipient', limit: recipientPerHour, windowMs: HOUR_MS },
    },
  };
}
