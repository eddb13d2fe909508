import { join } from 'node:path';
import { isJobStream, templateOf } from '@sluice/contracts';
import { jobLog } from '@sluice/jobs';
import { connectService, createBus, describeDifference, onceBrokerAnswers, watchTopology } from '@sluice/messaging';
import { runService, stopInOrder } from '@sluice/service';
import { createStore } from '@sluice/storage';
import { httpTelemetry, jetstreamMetrics, operationMetrics, pipelineTelemetry, publishSpan } from '@sluice/telemetry';
import { gatewayFields, priceField } from './config.ts';
import { pricesFrom } from './jobs/kinds/index.ts';
import { defaultCredits } from './credits/credits.ts';
import { startRole } from './gateway.ts';
import { startObjectCleanup } from './uploads/cleanup.ts';
import { defaultBodies } from './http/bodies.ts';
import { defaultLimits } from './dependencies.ts';
import { createGatewayMetrics, gatewayMetricNames } from './metrics.ts';
import { tuningsOf } from './pipeline-settings.ts';
import { provisionSystem, sayLayouts } from './provision-system.ts';

const version = '0.1.0';

await runService({
  name: 'gateway',
  version,
  config: gatewayFields,
  async start({ config, log, telemetry, instance, fault }) {
    const nc = await connectService(config, 'gateway', instance);
    // The gateway makes the streams: the others wait for theirs.
    const replicas = config.NATS_REPLICAS;
    const room = { replicas, storeBytes: config.NATS_STORE_BYTES };
    const bus = await createBus(nc, { tracePublish: publishSpan });
    const partitions = config.JOBS_PARTITIONS;
    const { topology, layouts, report } = await onceBrokerAnswers(
      () => provisionSystem(bus, { ...room, partitions }, Date.now()),
      log,
    );
    const { created, updated, notRaised, moved } = report;
    if (created.length + updated.length > 0) log.info({ created, updated }, 'topology provisioned');
    if (moved.length > 0)
      log.info({ moved }, 'messages of an older version moved to the stream that has their subject');
    if (notRaised.length > 0) {
      log.warn(
        { notRaised: notRaised.map(describeDifference) },
        'the broker has no room for what NATS_REPLICAS or NATS_STORE_BYTES asks for',
      );
    }
    sayLayouts(layouts, partitions, Date.now(), log);
    const topologyWatch = watchTopology(nc, topology, { ...room, log });
    await topologyWatch.look();
    const store = createStore({
      endpoint: config.S3_ENDPOINT,
      publicEndpoint: config.S3_PUBLIC_ENDPOINT,
      region: config.S3_REGION,
      bucket: config.S3_BUCKET,
      accessKeyId: config.S3_ACCESS_KEY_ID,
      secretAccessKey: config.S3_SECRET_ACCESS_KEY,
      onOperation: operationMetrics(
        telemetry.registry,
        gatewayMetricNames.storeDuration,
        'One operation on the object store, retries included',
      ),
    });
    await store.ensureBucket(config.WEB_ORIGINS).catch((error: unknown) => {
      // Mails and everything small go without the store; what needs it says so.
      log.warn({ err: error }, 'the bucket could not be made sure of');
    });
    const { registry } = telemetry;
    const metrics = createGatewayMetrics(registry);
    const traced = pipelineTelemetry({ registry, traceMode: config.PIPELINE_TRACE_MODE, templateOf });
    const gateway = await startRole(config.ROLE, {
      bus,
      store,
      log,
      settings: {
        host: config.HOST,
        port: config.PORT,
        rpcPort: config.GRPC_PORT,
        hosts: config.ALLOWED_HOSTS,
        links: config.HOME_LINKS,
        consoleDirectory: config.CONSOLE_DIRECTORY ?? join(import.meta.dirname, '../../../apps/console/dist'),
        origins: config.WEB_ORIGINS,
        bodies: { ...defaultBodies, totalBytes: config.BODY_BUDGET_BYTES },
        credits:
          config.CREDITS === 'off'
            ? undefined
            : { ...defaultCredits, prices: pricesFrom((name) => config[priceField(name)]) },
        webhooks: {
          concurrency: config.WEBHOOKS_CONCURRENCY,
          timeoutMs: config.WEBHOOK_TIMEOUT_MS,
          firstRetryMs: config.WEBHOOK_RETRY_BASE_MS,
          maxRetryMs: config.WEBHOOK_RETRY_MAX_MS,
          giveUpAfterMs: config.WEBHOOK_GIVE_UP_AFTER_MS,
          targets: config.WEBHOOK_TARGETS ?? (config.SLUICE_ENV === 'dev' ? 'any' : 'public'),
        },
        pipelines: tuningsOf(config),
        version,
        readModelUrl: config.READ_MODEL_URL,
        retention: { ttlMs: config.HISTORY_TTL_MS, maxBytes: config.HISTORY_MAX_BYTES },
        resultTtlMs: config.RESULT_TTL_MS,
        attachmentBytesPerAccount: config.ATTACHMENT_BYTES_PER_ACCOUNT,
        unsubscribeSecret: config.UNSUBSCRIBE_SECRET,
        bounces:
          config.BOUNCE_SECRET === undefined
            ? undefined
            : { secret: config.BOUNCE_SECRET, smtpPort: config.BOUNCE_SMTP_PORT },
        drainTimeoutMs: config.DRAIN_TIMEOUT_MS,
        ...room,
        auth: config.AUTH ?? (config.SLUICE_ENV === 'dev' ? 'off' : 'keys'),
        rates: {
          globalPerSecond: config.RATE_LIMIT_GLOBAL_PER_SECOND,
          accountPerSecond: config.RATE_LIMIT_ACCOUNT_PER_SECOND,
          recipientPerHour: config.RATE_LIMIT_RECIPIENT_PER_HOUR,
        },
        pressure: {
          maxBacklog: config.MAX_BACKLOG,
          maxWaitMs: config.MAX_WAIT_MS,
          storageBytes: config.NATS_STORE_BYTES,
        },
        limits: { ...defaultLimits, maxBytes: config.MAX_UPLOAD_BYTES, maxPixels: config.MAX_PIXELS },
      },
      http: httpTelemetry({ registry }),
      metrics,
      instance,
      observers: [traced.observe],
      instrument: traced.instrument,
      inject: traced.inject,
      onStarted: traced.watch,
      onFault: fault,
    });
    // Once per broker is enough, and every gateway has a process that answers clients.
    if (config.ROLE !== 'worker') {
      jetstreamMetrics(registry, async () => {
        const { streams, buckets } = await gateway.watch.look();
        return { streams: [...streams, ...buckets] };
      });
    }
    metrics.watchTopology(() => topologyWatch.differences());
    log.info({ role: config.ROLE, url: gateway.url }, gateway.url === undefined ? 'pulling' : 'listening');

    const cleanup =
      config.ROLE === 'api'
        ? undefined
        : startObjectCleanup({
            store,
            jobs: jobLog(bus),
            log,
            now: Date.now,
            resultTtlMs: config.RESULT_TTL_MS,
            onCleaned: (prefix, { deleted }) => metrics.cleaned(prefix, deleted),
          });

    return {
      ready: () => [
        ...gateway.reasons(),
        // Without JOBS no job can be accepted. Anything else that is missing or changed holds up its own work alone.
        ...topologyWatch
          .differences()
          .filter(({ where, setting }) => isJobStream(where) && setting === 'existence')
          .map(describeDifference),
      ],
      warnings: () => [...gateway.warnings(), ...topologyWatch.differences().map(describeDifference)],
      async stop() {
        topologyWatch.close();
        const notDone = await stopInOrder(config.DRAIN_TIMEOUT_MS, [
          ...gateway.stopSteps,
          { what: 'cleaning up uploads', stop: () => cleanup?.stop() },
          { what: 'sending what is buffered to NATS', stop: () => bus.close() },
        ]);
        traced.close();
        store.close();
        return notDone;
      },
    };
  },
});
