import { kvAttemptStore } from '@sluice/pipeline';
import type {
  Instrument,
  Logger,
  NatsPort,
  Observer,
  Pipeline,
  PipelineEvent,
  RunningPipeline,
  Runtime,
} from '@sluice/pipeline';
import { buckets } from '../topology/buckets.ts';

export interface PipelineHostSettings {
  readonly nats: NatsPort;
  readonly log: Logger;
  /** Metrics, lifecycle events and other observers: each sees every event. */
  readonly observers: readonly Observer[];
  readonly instrument?: Instrument;
  readonly inject?: NonNullable<Runtime<unknown>['inject']>;
  /** Called with every pipeline that has started, for gauges over its snapshot. */
  readonly onStarted?: (name: string, pipeline: RunningPipeline) => void;
  /** A pipeline that cannot go on: the process has to be started again. */
  readonly onFault: (error: unknown) => void;
}

/** The pipelines of one service process: started the same way, drained together. */
export interface PipelineHost {
  start<T, D>(pipeline: Pipeline<T, D>, deps: D): Promise<RunningPipeline>;
  /** By name, in the order they were started. */
  readonly running: readonly { readonly name: string; readonly pipeline: RunningPipeline }[];
  /** Why the pipelines are not at work; empty when they are. */
  reasons(): readonly string[];
  /** Stops pulling, lets running work finish, gives the rest back to other replicas. Returns what was not settled. */
  drain(timeoutMs: number): Promise<readonly string[]>;
}

/** Makes the host of one service's pipelines. Failed runs are counted in a bucket: they outlive a restart. */
export function createPipelineHost(settings: PipelineHostSettings): PipelineHost {
  const running: { readonly name: string; readonly pipeline: RunningPipeline }[] = [];
  const attemptStore = kvAttemptStore(settings.nats, { bucket: buckets.attempts.name });
  let draining = false;
  const observe = (event: PipelineEvent): void => {
    for (const observer of settings.observers) observer(event);
  };
  return {
    running,
    async start(pipeline, deps) {
      const { nats, log, instrument, inject } = settings;
      const started = await pipeline.start({
        nats,
        deps,
        log,
        observe,
        attemptStore,
        ...(instrument === undefined ? {} : { instrument }),
        ...(inject === undefined ? {} : { inject }),
      });
      running.push({ name: pipeline.spec.name, pipeline: started });
      settings.onStarted?.(pipeline.spec.name, started);
      started.done.catch((error: unknown) => {
        if (!draining) settings.onFault(error);
      });
      return started;
    },
    reasons: () =>
      running.flatMap(({ name, pipeline }) => {
        const { ok, reason } = pipeline.health();
        return ok ? [] : [`${name}: ${reason ?? pipeline.state}`];
      }),
    async drain(timeoutMs) {
      draining = true;
      const reports = await Promise.all(
        running.map(async ({ name, pipeline }) => ({ name, ...(await pipeline.drain({ timeoutMs })) })),
      );
      return reports
        .filter(({ abandoned }) => abandoned > 0)
        .map(
          ({ name, abandoned }) =>
            `${name}: ${abandoned} messages not settled, they are delivered again after ack_wait`,
        );
    },
  };
}
