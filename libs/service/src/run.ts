import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodeMetrics, startTelemetry, type Logger, type Telemetry } from '@sluice/telemetry';
import type { z } from 'zod';
import { ConfigError, loadConfig, serviceFields } from './config.ts';
import { STOP_GRACE_MS } from './stop-in-order.ts';
import { startOpsServer, type OpsServerSettings, type Readiness } from './ops-server.ts';

/** What every service takes, and the fields of its own. */
export type ServiceConfig<Shape extends z.ZodRawShape> = z.infer<z.ZodObject<typeof serviceFields>> &
  z.infer<z.ZodObject<Shape>>;

/** What a service's `start` is given. */
export interface ServiceContext<Shape extends z.ZodRawShape> {
  readonly config: ServiceConfig<Shape>;
  readonly log: Logger;
  readonly telemetry: Telemetry;
  /** Names this replica. */
  readonly instance: string;
  readonly version: string;
  /** The process cannot go on: it is stopped in order and exits with 1, to be started again. */
  readonly fault: (error: unknown) => void;
}

/** A started service. */
export interface RunningService {
  readonly ready: Readiness;
  /** What an operator should know of although work goes on; `/readyz` shows it. */
  readonly warnings?: () => readonly string[];
  /**
   * Ends in order: stop accepting, stop pulling, finish what runs, close connections. Returns what was not done, for the
   * log: a broker that does not answer must not keep a process from ending.
   */
  stop(): Promise<readonly string[]>;
  readonly pages?: OpsServerSettings['pages'];
}

export interface ServiceDefinition<Shape extends z.ZodRawShape> {
  readonly name: string;
  readonly version: string;
  /** The service's own fields; those of every service come with it. */
  readonly config: Shape;
  start(context: ServiceContext<Shape>): Promise<RunningService>;
}

/**
 * The life of a service process, the same for all:
 *
 *     starting -> running -> stopping -> exit
 *
 * - **starting**: configuration is read (a bad one exits 78 with everything that is wrong), telemetry and the ops
 *   server are up, `/readyz` says 503 "starting". A `start` that throws exits 1.
 * - **running**: entered when `start` resolves. Left by SIGTERM, SIGINT, SIGHUP or a fault.
 * - **stopping**: `/readyz` says 503 at once; `stop()` runs, at most DRAIN_TIMEOUT_MS and 3 s more; the last spans and
 *   logs are sent; then exit 0, or 1 after a fault or a second signal.
 */
export async function runService<Shape extends z.ZodRawShape>(definition: ServiceDefinition<Shape>): Promise<void> {
  const config = readConfig(definition);
  const { name, version } = definition;
  const instance = config.INSTANCE ?? `${hostname()}-${process.pid}`;
  const telemetry = startTelemetry({
    service: name,
    version,
    instance,
    sampleRatio: config.TRACE_SAMPLE_RATIO,
    logLevel: config.LOG_LEVEL,
    environment: config.SLUICE_ENV,
    ...(config.LOG_REDACTION_KEY === undefined ? {} : { redactionKey: config.LOG_REDACTION_KEY }),
    ...(config.OTEL_EXPORTER_OTLP_ENDPOINT === undefined ? {} : { otlpEndpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT }),
  });
  const { log, registry } = telemetry;
  nodeMetrics(registry);

  let state: 'starting' | 'running' | 'stopping' = 'starting';
  let service: RunningService | undefined;
  const pages: Record<string, NonNullable<OpsServerSettings['pages']>[string]> = {};
  const ops = await startOpsServer({
    host: config.HOST,
    port: config.OPS_PORT,
    ready: () => (state === 'running' && service !== undefined ? service.ready() : [state]),
    warnings: () => service?.warnings?.() ?? [],
    metrics: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
    pages,
  }).catch((error: unknown) => {
    log.fatal({ err: error }, 'the ops port cannot be opened');
    return process.exit(1);
  });

  let failed = false;
  const started = Promise.withResolvers<void>();
  const stop = async (why: string): Promise<void> => {
    if (state === 'stopping') return;
    state = 'stopping';
    log.info({ why }, 'stopping');
    const deadline = setTimeout(
      () => {
        log.error('stopping took too long');
        process.exit(1);
      },
      config.DRAIN_TIMEOUT_MS + STOP_GRACE_MS + FLUSH_MS,
    );
    // A start that waits for a broker that is not there has nothing to finish.
    await Promise.race([started.promise, sleep(STARTING_GRACE_MS)]);
    const notDone = await service?.stop().catch((error: unknown) => {
      failed = true;
      log.error({ err: error }, 'stopping failed');
      return [];
    });
    if (notDone !== undefined && notDone.length > 0) log.warn({ notDone }, 'stopping without what could not be done');
    await ops.close();
    log.info({ failed }, 'stopped');
    await telemetry.shutdown();
    clearTimeout(deadline);
    process.exit(failed ? 1 : 0);
  };
  const fault = (error: unknown): void => {
    failed = true;
    log.fatal({ err: error }, 'the service cannot go on');
    void stop('fault');
  };

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Ctrl-C reaches a child from the terminal and from its launcher: the same signal twice within a moment is one.
      if (state === 'stopping' && signal !== 'SIGHUP' && performance.now() - firstSignalMs > 1_000) process.exit(1);
      firstSignalMs = Math.min(firstSignalMs, performance.now());
      void stop(signal);
    });
  }
  process.on('uncaughtException', fault);
  process.on('unhandledRejection', fault);

  try {
    service = await definition.start({ config, log, telemetry, instance, version, fault });
    Object.assign(pages, service.pages);
    if (state === 'starting') {
      state = 'running';
      log.info({ opsPort: ops.port, version }, 'running');
    }
  } catch (error) {
    fault(error);
  } finally {
    started.resolve();
  }
}

let firstSignalMs = Infinity;

/** How long a stop waits for a start that is still going on. */
const STARTING_GRACE_MS = 2_000;

/** Closing the ops server and sending the last spans and logs, which telemetry bounds at 3 s, with a second to spare. */
const FLUSH_MS = 4_000;

/** The exit code of a configuration error, as in sysexits.h. */
const EX_CONFIG = 78;

function readConfig<Shape extends z.ZodRawShape>(definition: ServiceDefinition<Shape>): ServiceConfig<Shape> {
  try {
    return loadConfig({ ...serviceFields, ...definition.config }) as ServiceConfig<Shape>;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${definition.name}: ${error.message}\n`);
    return process.exit(EX_CONFIG);
  }
}
