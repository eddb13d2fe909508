import type { AddressInfo } from 'node:net';
import { isJobStream } from '@sluice/contracts';
import { openTemplates } from '@sluice/mail-templates';
import { openSuppressions } from '@sluice/suppression';
import { buckets, openBucket, openPauseState, SILENT_MS, watchReplicas } from '@sluice/messaging';
import type { StopStep } from '@sluice/service';
import type { AcceptDeps } from './jobs/accept/accept-job.ts';
import { KeysInProgress } from './jobs/accept/idempotency.ts';
import { useAccess } from './http/access.ts';
import { createApp, type App } from './http/app.ts';
import { readConsole } from './http/console.ts';
import { useBrowserGuard } from './http/browser-guard.ts';
import { defaultBodies, useBodies, type Bodies } from './http/bodies.ts';
import { endUnreadAnswers } from './http/unread-answers.ts';
import type { RouteDeps } from './http/deps.ts';
import { addRoutes } from './http/routes.ts';
import { openFlowStore } from './lifecycle/flows.ts';
import { reporterOf } from './lifecycle/reporter.ts';
import { BodyBudget } from './admission/body-budget.ts';
import { defaultOpenStreams, OpenStreams } from './admission/open-streams.ts';
import { BodyWatch } from './admission/body-watch.ts';
import { watchFailed, type GatewayDependencies, type SharedDependencies } from './dependencies.ts';
import { startProjection, type Projection } from './history/projection.ts';
import { diskUsed } from './history/disk-used.ts';
import { openReadModel } from './history/open-read-model.ts';
import { defaultRetention, startRetention, type Retention } from './history/retention.ts';
import type { ThreadedReadModel } from './history/thread/host.ts';
import { watchPaused } from './system/paused.ts';
import { createErasures } from './erasure/erasures.ts';
import { startBounceServer } from './smtp/bounce-server.ts';
import { createRpc, mountRpc, startRpcServer } from './grpc/server.ts';
import { defaultReconciling, startReconciler } from './jobs/reconciler/reconciler.ts';
import { liveJobs } from './jobs/timeline/live.ts';
import { ownKeys } from './accounts/own-keys.ts';
import { webhookSecrets } from './webhooks/secrets.ts';
import { webhookTester } from './webhooks/test-call.ts';
import { DEFAULT_RESULT_TTL_MS } from './jobs/result-expiry.ts';
import { attachmentStorage, DEFAULT_ATTACHMENT_BYTES } from './uploads/attachment-storage.ts';
import { defaultWebhooks } from './webhooks/webhooks.ts';

/** The half of a gateway that clients talk to: HTTP, gRPC, and the read model behind their questions. */
export interface Api {
  readonly url: string;
  readonly app: App;
  /** The port that gRPC clients connect to, if there is one. */
  readonly rpcPort: number | undefined;
  /** The port that mails come back to, if there is one. */
  readonly bouncePort: number | undefined;
  /** Resolves once the read model has caught up with what was there at the start. */
  readonly caughtUp: Promise<void>;
  /** Bytes of request bodies that are held now. */
  readonly bodyBytes: () => number;
  /** Why it cannot take work; empty when it can. */
  reasons(): readonly string[];
  /** What an operator should know of although it takes work. */
  warnings(): readonly string[];
  /** Stops accepting, answers what is open, closes what was opened. The bus, the store and the shared dependencies stay open. */
  readonly stopSteps: readonly StopStep[];
}

/** What of the history is not as it should be. Single jobs, and everything that makes one, go on without it. */
function historyWarnings(model: ThreadedReadModel, projection: Projection, retention: Retention): readonly string[] {
  const behind = projection.behind('JOBS') + projection.behind('EVENTS');
  return [
    model.problem(),
    projection.problem(),
    behind > 0 ? `the history is ${behind} messages behind: lists lack what they say` : undefined,
    retention.problem(),
  ].filter((text) => text !== undefined);
}

/** A broker that has turned JetStream off answers nothing of it, and its connections stay. */
const BROKER_SILENT_MS = 10_000;
/** Without traffic no publish shows that a stream is well again: this long after the last one it is tried by requests. */
const STALL_KNOWN_MS = 30_000;
const LOOK = 'see the log and the disk of nats-server, make room if it is full, then restart it';

/** Starts the servers. `alsoReady` is what else of this process has to be at work for it to call itself ready, `held` which steps of jobs wait. */
export async function startApi(
  dependencies: GatewayDependencies,
  { jobs, jobStreams, credits, now, watch, backpressure, backlogShare, keyDays, access }: SharedDependencies,
  alsoReady: () => readonly string[] = () => [],
  held: () => readonly string[] = () => [],
): Promise<Api> {
  const { bus, store, log, settings } = dependencies;
  const closing = new AbortController();
  const live = liveJobs(bus, log, { jobStreams });
  const model = await openReadModel(settings.readModelUrl, log);
  const projection = startProjection({ bus, model, log, jobStreams });
  const retention = startRetention(model, settings.retention ?? defaultRetention, {
    log,
    now,
    brokerNow: () => projection.brokerNow(),
  });
  const stopReconciling = startReconciler({
    bus,
    jobs,
    jobStreams,
    model,
    log,
    now,
    report: reporterOf(dependencies, 'gateway'),
    onAction: (action) => dependencies.metrics?.reconciled(action),
    onProgress: () => dependencies.metrics?.reconcilerProgressed(),
    settings: settings.reconciling ?? defaultReconciling,
  });
  dependencies.metrics?.watchOpen(() => model.open());
  const { maxBytes } = settings.retention ?? defaultRetention;
  dependencies.metrics?.watchHistory(() => ({
    behind: { JOBS: projection.behind('JOBS'), EVENTS: projection.behind('EVENTS') },
    usage: retention.usage(),
    maxBytes,
  }));
  dependencies.metrics?.watchStorage(() => backpressure.storageUsed);
  dependencies.metrics?.watchStalls(() => bus.stalls.now());
  const flows = await openFlowStore(bus.nc, { now, onError: watchFailed(log) });
  /** Streams that confirm nothing, of those that were tried lately: JOBS takes everything along, the others their own. */
  const stalled = (isJobs: boolean): readonly string[] =>
    bus.stalls
      .now()
      .filter(({ stream, triedAgoMs }) => isJobStream(stream) === isJobs && triedAgoMs < STALL_KNOWN_MS)
      .map(({ stream, forMs }) => `stream ${stream} has confirmed nothing for ${Math.round(forMs / 1000)} s: ${LOOK}`);
  const reasons = (): readonly string[] => [
    ...(closing.signal.aborted ? ['stopping'] : []),
    ...(bus.port.connected ? [] : ['no connection to NATS']),
    ...(watch.silentMs() < BROKER_SILENT_MS ? [] : [`JetStream has not answered for 10 s: ${LOOK}`]),
    ...stalled(true),
    ...(backpressure.storageReason === undefined ? [] : [backpressure.storageReason]),
    ...alsoReady(),
  ];

  const replicas = watchReplicas(bus.port);
  /** Also what holds up the pipelines of other gateways, which drive the jobs where roles are split. */
  const heldAnywhere = (): readonly string[] => {
    const heard = replicas.replicas().filter(({ service, silentMs }) => service === 'gateway' && silentMs <= SILENT_MS);
    return [...new Set([...held(), ...heard.flatMap((replica) => replica.held)])];
  };

  const { targets } = settings.webhooks ?? defaultWebhooks;
  backlogShare?.countWith((account, kind) => model.counts(account, kind));
  const accept: AcceptDeps = { log: jobs, now, keyDays, backpressure, backlogShare, targets, credits };
  const { totalBytes, ...progress } = settings.bodies ?? defaultBodies;
  const bodies: Bodies = {
    // Without keys all requests are of one account, which then may use all there is.
    budget: new BodyBudget(totalBytes, access.keys !== undefined),
    watch: new BodyWatch(progress),
  };
  const limits = settings.openStreams ?? defaultOpenStreams;
  const streams = new OpenStreams(access.keys === undefined ? { ...limits, perAccount: limits.total } : limits);
  const deps: RouteDeps = {
    bus,
    jobs,
    history: model,
    accept,
    store,
    attachmentStorage: attachmentStorage({
      leases: await openBucket(bus.nc, buckets.rates),
      store,
      now,
      limitBytes: settings.attachmentBytesPerAccount ?? DEFAULT_ATTACHMENT_BYTES,
    }),
    templates: await openTemplates(bus.nc, now),
    live,
    streams,
    keys: new KeysInProgress(),
    log,
    now,
    limits: settings.limits,
    resultTtlMs: settings.resultTtlMs ?? DEFAULT_RESULT_TTL_MS,
    backpressure,
    access,
    closing: closing.signal,
  };
  const app = await createApp({
    log,
    version: settings.version,
    telemetry: dependencies.http,
    keys: access.keys !== undefined,
  });
  useBrowserGuard(app, {
    hosts: access.keys === undefined ? (settings.hosts ?? []) : undefined,
    origins: settings.origins ?? [],
  });
  useAccess(app, access);
  useBodies(app, bodies);
  const unread = endUnreadAnswers(app.server, { ...progress, log });
  dependencies.metrics?.watchBounds(() => ({
    request_bodies: bodies.budget.heldBytes / bodies.budget.totalBytes,
    unread_answers: unread.share(),
    event_streams: streams.total / streams.mostTotal,
    history_questions: model.waitingShare(),
    history_disk: diskUsed(settings.readModelUrl),
  }));
  const pauses = await watchPaused(bus.nc, watchFailed(log));
  const suppressions = await openSuppressions(bus.nc, () => new Date(now()));
  const erasures = createErasures({
    bus,
    jobs,
    jobStreams,
    store,
    kv: await openBucket(bus.nc, buckets.erasures),
    suppressions,
    history: model,
    log,
    now,
  });
  const bounces =
    settings.bounces === undefined ? undefined : { jobs, suppressions, now, secret: settings.bounces.secret };
  const secrets = webhookSecrets(await openBucket(bus.nc, buckets.webhookSecrets), now);
  const tester = webhookTester(settings.webhooks ?? defaultWebhooks, { secrets, now, signal: closing.signal });
  await addRoutes(app, {
    ...deps,
    reasons,
    held: () => [...heldAnywhere(), ...backpressure.fullStreams, ...stalled(false)],
    links: settings.links ?? [],
    version: settings.version,
    console: settings.consoleDirectory === undefined ? undefined : await readConsole(settings.consoleDirectory),
    watch,
    replicas,
    paused: pauses.paused,
    model,
    projection,
    flows,
    pauseState: openPauseState(bus.nc, { replicas: settings.replicas ?? 1, storeBytes: settings.storeBytes ?? 0 }),
    suppressions,
    erasures,
    bounces,
    ownKeys: ownKeys({ kv: await openBucket(bus.nc, buckets.apiKeys), port: bus.port, known: access.keys, now }),
    webhookSecrets: secrets,
    webhookTester: tester,
    credits: settings.credits === undefined ? undefined : credits,
    unsubscribeSecret: settings.unsubscribeSecret,
  });
  const rpc = createRpc({ ...deps, flows, bodies, watch, replicas, paused: pauses.paused });
  await mountRpc(app, rpc);

  await app.listen({ host: settings.host, port: settings.port });
  const rpcServer =
    settings.rpcPort === undefined
      ? undefined
      : await startRpcServer(rpc, { host: settings.host, port: settings.rpcPort, idleMs: settings.rpcIdleMs }, log);
  const bounceServer =
    bounces === undefined || settings.bounces?.smtpPort === undefined
      ? undefined
      : await startBounceServer(bounces, { host: settings.host, port: settings.bounces.smtpPort }, log);
  const { address, port } = app.server.address() as AddressInfo;

  return {
    url: `http://${address.includes(':') ? `[${address}]` : address}:${port}`,
    app,
    rpcPort: rpcServer?.port,
    bouncePort: bounceServer?.port,
    caughtUp: projection.caughtUp,
    bodyBytes: () => bodies.budget.heldBytes,
    reasons,
    warnings: () => historyWarnings(model, projection, retention),
    stopSteps: [
      {
        what: 'answering open requests',
        stop() {
          closing.abort();
          return Promise.all([
            app.close(),
            rpcServer?.stop(settings.drainTimeoutMs),
            bounceServer?.close(),
            tester.close(),
          ]).finally(() => {
            unread.stop();
            bodies.watch.close();
          });
        },
      },
      { what: 'looking for jobs whose work was lost', stop: stopReconciling },
      {
        what: 'following the buckets and streams',
        stop() {
          replicas.close();
          return Promise.all([flows.close(), live.close(), pauses.close()]);
        },
      },
      { what: 'interrupting an erasure', stop: () => erasures.close() },
      { what: 'following the buckets and streams', stop: () => Promise.all([flows.close(), live.close()]) },
      {
        what: 'storing the last events in the read model',
        async stop() {
          try {
            await Promise.all([projection.close(), retention.close()]);
          } finally {
            await model.close();
          }
        },
      },
    ],
  };
}
