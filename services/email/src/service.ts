import { MAX_MAIL_COPIES } from '@sluice/contracts';
import { jobLog } from '@sluice/jobs';
import { buckets, directBucket, openDirectBucket } from '@sluice/messaging';
import type { RunningService, ServiceContext } from '@sluice/service';
import { createStore } from '@sluice/storage';
import { createWorker } from '@sluice/service/worker';
import { createByteBudget } from './delivery/byte-budget.ts';
import { createCancellation } from './delivery/cancellation.ts';
import { createTellDeferral } from './delivery/deferral.ts';
import { configWarnings, emailSettings, type emailFields, type EmailConfig } from './config.ts';
import { createInbox } from './delivery/inbox.ts';
import type { MailerDeps } from './delivery/mailer-deps.ts';
import { createEmailMetrics } from './metrics.ts';
import { createAttachments } from './compose/attachments.ts';
import { mailerPipelines, mailsInHand } from './nats/pipelines.ts';
import { previewPage } from './templates/preview.ts';
import { createQuota } from './quota/quota.ts';
import { defaultBreaker, type BreakerSettings } from './providers/breaker.ts';
import { createDispatcher } from './providers/dispatcher.ts';
import { defaultTimeouts, type TransportTimeouts } from './providers/mail-transport.ts';
import { openTransport } from './providers/open-transport.ts';
import { openTemplates } from '@sluice/mail-templates';
import { openSuppressions } from '@sluice/suppression';

/** What configuration leaves alone and tests do not: how long a sick provider is waited for, which hour it is. */
export interface Tuning {
  readonly timeouts?: Partial<TransportTimeouts>;
  readonly breaker?: Partial<BreakerSettings>;
  readonly pullExpiresMs?: number;
  readonly cancelCheckAfterMs?: number;
  /** The clock of the quotas. */
  readonly now?: () => Date;
}

/** Starts the two mailers and all they work with. */
export async function startEmail(
  context: ServiceContext<typeof emailFields>,
  tuning: Tuning = {},
): Promise<RunningService> {
  const { config, log, telemetry, instance } = context;
  const settings = emailSettings(config);
  for (const warning of configWarnings(config)) log.warn({}, warning);
  const { concurrency } = settings;
  const worker = await createWorker('email', context);
  const { nc } = worker.bus;
  const [inbox, quotas, suppressions, templates] = await Promise.all([
    openDirectBucket(worker.bus, buckets.emailInbox),
    openDirectBucket(worker.bus, buckets.emailQuotas),
    openSuppressions(nc, undefined, (bucket) => directBucket(worker.bus.port, bucket)),
    openTemplates(nc),
  ]);

  const attemptMs = config.SMTP_ATTEMPT_TIMEOUT_MS;
  const providers = settings.providers.map((provider) => ({
    name: provider.name,
    transport: openTransport({
      provider,
      timeouts: { ...defaultTimeouts, attemptMs, ...tuning.timeouts },
      // A session for every mail in hand: none waits for another's, so an attempt's time is its own.
      connections: mailsInHand(concurrency),
      clientName: settings.sender.messageIdDomain,
      ca: config.SMTP_CA,
    }),
  }));
  const filesInHand = createByteBudget(config.FILES_IN_HAND_BYTES);
  const metrics = createEmailMetrics(telemetry.registry, {
    connections: () =>
      providers.map(({ name, transport }) => ({ provider: name, opened: transport.connectionsOpened })),
    breakers: () => dispatcher.states,
    filesInHand: () => filesInHand.heldBytes,
  });
  const dispatcher = createDispatcher(
    providers,
    { ...defaultBreaker, ...tuning.breaker },
    {
      ...metrics,
      breaker: (provider, state, cause) => {
        const { available } = dispatcher;
        if (state === 'open') log.warn({ provider, cause, available }, 'a mail provider is left alone after faults');
        else if (state === 'half-open') log.info({ provider }, 'a mail provider answers again and gets one mail');
        else log.info({ provider }, 'a mail provider takes mail again');
      },
      domainOpened: (provider, domain, cause) =>
        log.warn({ provider, domain, cause }, 'mail to one domain waits after faults; mail to others goes on'),
    },
  );

  const store = storeOf(config);
  const stopping = new AbortController();
  const deps: MailerDeps = {
    inbox: createInbox({ bucket: inbox, instance, leaseMs: attemptMs * providers.length + 5_000 }),
    quota: createQuota({ bucket: quotas, ...settings.quota, ...(tuning.now === undefined ? {} : { now: tuning.now }) }),
    suppressions,
    templates,
    dispatcher,
    sender: settings.sender,
    senders: settings.senders,
    attachments: createAttachments({
      store,
      linkTtlMs: config.PDF_LINK_TTL_MS,
      attachMaxBytes: config.ATTACH_MAX_BYTES,
    }),
    filesInHand,
    attachMaxBytes: config.ATTACH_MAX_BYTES,
    metrics,
    lifecycle: worker.lifecycle,
    cancelled: createCancellation({ jobs: jobLog(worker.bus), cancelCheckAfterMs: tuning.cancelCheckAfterMs }),
    tellDeferral: createTellDeferral(worker.bus, log),
    policy: config.AMBIGUITY_POLICY,
    retry: {
      maxFailures: config.RETRY_ATTEMPTS,
      forMs: config.RETRY_FOR_MS,
      baseMs: config.RETRY_BASE_MS,
      maxMs: config.RETRY_MAX_MS,
    },
    holdMs: config.HOLD_MS,
    stopping: stopping.signal,
  };

  const pipelines = mailerPipelines({
    concurrency,
    retry: { baseMs: config.RETRY_BASE_MS, maxMs: config.RETRY_MAX_MS },
    // Held, tried twice, and once for each copy.
    handlerTimeoutMs: config.HOLD_MS + (2 + MAX_MAIL_COPIES) * attemptMs * providers.length + 10_000,
    pullExpiresMs: tuning.pullExpiresMs,
  });
  for (const pipeline of pipelines) await worker.host.start(pipeline, deps);

  return {
    warnings: worker.warnings,
    ready: () => [...worker.host.reasons(), ...(dispatcher.available ? [] : ['no mail provider takes mail'])],
    ...(config.SLUICE_ENV === 'dev' ? { pages: { '/templates/': previewPage } } : {}),
    async stop() {
      stopping.abort(new Error('the service is stopping'));
      const notDone = await worker.close();
      dispatcher.close();
      store?.close();
      return notDone;
    },
  };
}

/** The object store, if the service was given one. */
function storeOf(config: EmailConfig): ReturnType<typeof createStore> | undefined {
  const { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = config;
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return createStore({
    endpoint: config.S3_ENDPOINT,
    publicEndpoint: config.S3_PUBLIC_ENDPOINT,
    region: config.S3_REGION,
    bucket: config.S3_BUCKET,
    accessKeyId,
    secretAccessKey,
  });
}
