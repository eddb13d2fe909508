import type { Settlement } from './outcome.ts';
import type { RunningPipeline } from './running.ts';
import type { Runtime } from './runtime.ts';
import type { PipelineSpec } from './spec.ts';

/** Runs one delivery through the whole pipeline without a broker: decode, middleware, timeout, retry, dead letter. */
export interface Harness<T> {
  deliver(
    data: T | Uint8Array,
    options?: { attempt?: number; subject?: string; id?: string; headers?: Readonly<Record<string, string>> },
  ): Promise<Settlement>;
}

export interface Pipeline<T, D> {
  readonly spec: PipelineSpec<T, D>;
  /**
   * Checks the live consumers and starts pulling. Rejects with a `PipelineConfigError` when a consumer is missing or
   * does not fit; nothing is ever created or changed on the server.
   */
  start(runtime: Runtime<D>): Promise<RunningPipeline>;
  /** For unit tests of handlers. */
  harness(deps: D): Harness<T>;
}

/** Checks the spec, all of it at once. Throws a `PipelineConfigError` that lists every problem with its path. */
export function definePipeline<T, D = undefined>(spec: PipelineSpec<T, D>): Pipeline<T, D> {
  return {
    spec,
    start: () => Promise.reject(new Error('not yet')),
    harness: () => ({ deliver: () => Promise.reject(new Error('not yet')) }),
  };
}
