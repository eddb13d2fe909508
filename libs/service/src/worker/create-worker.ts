import { templateOf } from '@sluice/contracts';
import {
  connectService,
  createBus,
  createLifecycle,
  createPipelineHost,
  lifecycleObserver,
  followPauseState,
  announcePresence,
  type Bus,
  type Lifecycle,
  type PipelineHost,
} from '@sluice/messaging';
import type { natsFields } from '../config.ts';
import type { ServiceContext } from '../run.ts';
import { stopInOrder } from '../stop-in-order.ts';
import { pipelineTelemetry, publishSpan } from '@sluice/telemetry';

/** What a service that runs pipelines stands on: the bus, and a host whose pipelines are traced, counted and told of. */
export interface Worker {
  readonly bus: Bus;
  readonly host: PipelineHost;
  readonly lifecycle: Lifecycle;
  /** What an operator should know of although the pipelines are at work. */
  readonly warnings: () => readonly string[];
  /**
   * Stops pulling, lets running work finish, sends what is buffered, closes the connection, in this order and within
   * DRAIN_TIMEOUT_MS. Returns what was not done.
   */
  readonly close: () => Promise<readonly string[]>;
}

/** The part of a service's context a worker needs. */
export type WorkerContext = ServiceContext<typeof natsFields>;

/** Connects a service to NATS and gives its pipelines traces, metrics and lifecycle events. */
export async function createWorker(service: string, context: WorkerContext): Promise<Worker> {
  const { config, log, telemetry, instance, fault } = context;
  const nc = await connectService(config, service, instance);
  const bus = await createBus(nc, { tracePublish: publishSpan });
  const traced = pipelineTelemetry({
    registry: telemetry.registry,
    traceMode: config.PIPELINE_TRACE_MODE,
    templateOf,
  });
  const lifecycle = createLifecycle(bus.port, {
    app: service,
    instance,
    onUnsent: (error) => log.warn({ err: error }, 'a lifecycle event cannot be written'),
  });
  // An operator pauses and resumes pipelines by name, wherever they run.
  const pauses = await followPauseState(nc, { log });
  const presence = announcePresence(bus.port, { service, instance, version: context.version });
  const host = createPipelineHost({
    nats: bus.port,
    log,
    observers: [traced.observe, lifecycleObserver(lifecycle), presence.observe],
    instrument: traced.instrument,
    inject: traced.inject,
    onStarted(name, pipeline) {
      traced.watch(name, pipeline);
      pauses.started(name, pipeline);
    },
    onFault: fault,
  });
  presence.follow(host);
  return {
    bus,
    host,
    lifecycle,
    warnings: pauses.warnings,
    async close() {
      const notDone = await stopInOrder(config.DRAIN_TIMEOUT_MS, [
        { what: 'following the pause state', stop: () => pauses.stop() },
        { what: 'settling the messages in hand', stop: () => host.drain(config.DRAIN_TIMEOUT_MS) },
        { what: 'telling the last events of messages', stop: () => lifecycle.flush() },
        { what: 'telling the gateway that this replica goes', stop: () => presence.leave() },
        { what: 'sending what is buffered to NATS', stop: () => bus.close() },
      ]);
      traced.close();
      return notDone;
    },
  };
}
