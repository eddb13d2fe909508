import { systemClock } from './clock.ts';
import { checkConsumer, checkDeadLetters } from './pull/consumer-check.ts';
import type { LiveConsumer } from './pull/consumer-check.ts';
import { Engine } from './engine.ts';
import { ensure } from './ensure.ts';
import type { EnsureOptions, EnsureReport } from './ensure.ts';
import { checkLimitStore } from './limits/check.ts';
import { checkDelayedStream } from './delayed/stream-check.ts';
import { checkPartitions } from './partitions/server-check.ts';
import type { NatsPort } from './nats/port.ts';
import { PipelineConfigError } from './errors.ts';
import type { ConfigProblem } from './errors.ts';
import { silentLogger } from './log.ts';
import { startReplay } from './replay.ts';
import type { Replay, ReplayOptions } from './replay.ts';
import { resolveSpec, withAttemptStore } from './config/resolve-spec.ts';
import type { ResolvedSpec } from './config/resolve-spec.ts';
import type { RunningPipeline } from './running.ts';
import type { Runtime } from './runtime.ts';
import type { PipelineSpec } from './config/spec.ts';

export interface Pipeline<T, D> {
  readonly spec: PipelineSpec<T, D>;
  /**
   * Checks the live consumers and starts pulling. Rejects with a `PipelineConfigError` when a consumer is missing or
   * does not fit, or when dead letters would not be stored; nothing is created or changed on the server.
   */
  start(runtime: Runtime<D>): Promise<RunningPipeline>;
  /**
   * Runs the handler over history, from the first message, a sequence or a time, without touching the live consumers:
   * to rebuild a cache or to try a new version. Emits and dead letters are dropped unless told otherwise.
   */
  replay(runtime: Runtime<D>, options: ReplayOptions): Promise<Replay>;
  /**
   * Makes the streams, consumers and the dead letters' stream that are missing, for a quick start, a test or a service
   * that owns its streams. What is there is compared, never changed; every difference is in one `PipelineConfigError`.
   */
  ensure(nats: NatsPort, options: EnsureOptions): Promise<EnsureReport>;
}

/** Checks the spec, all of it at once. Throws a `PipelineConfigError` that lists every problem with its path. */
export function definePipeline<T, D = undefined>(spec: PipelineSpec<T, D>): Pipeline<T, D> {
  const resolved = resolveSpec(spec);
  return {
    spec,
    start: (runtime) => start(resolved, runtime),
    replay: (runtime, options) => startReplay(resolved, runtime, options),
    ensure: (nats, options) => ensure(nats, resolved, options),
  };
}

async function start<T, D>(spec: ResolvedSpec<T, D>, runtime: Runtime<D>): Promise<RunningPipeline> {
  const [partitions, reports, deadLetters, delayed, limits] = await Promise.all([
    checkPartitions(runtime.nats, spec),
    Promise.all(spec.sources.map((_, index) => checkConsumer(runtime.nats, spec, index))),
    checkDeadLetters(runtime.nats, spec),
    spec.delayed === undefined ? [] : checkDelayedStream(runtime.nats, spec.delayed.subject),
    checkLimitStore(spec.limits),
  ]);
  const problems: ConfigProblem[] = [
    ...partitions,
    ...reports.flatMap((report) => report.problems),
    ...deadLetters,
    ...delayed,
    ...limits,
  ];
  if (problems.length > 0) throw new PipelineConfigError(`pipeline ${spec.name} does not fit the server`, problems);
  const live = reports.map((report) => report.live).filter((one): one is LiveConsumer => one !== undefined);
  return new Engine(
    withAttemptStore(spec, runtime.attemptStore),
    runtime,
    runtime.clock ?? systemClock,
    runtime.log ?? silentLogger,
    live,
  );
}
