export { definePipeline } from './define-pipeline.ts';
export type { Pipeline } from './define-pipeline.ts';
export type { Harness, HarnessDelivery } from './harness.ts';
export type {
  BatchHandler,
  BatchOptions,
  BreakerOptions,
  DeadLetterPolicy,
  FlowOptions,
  Handler,
  IdempotencyOptions,
  LeaseOptions,
  Middleware,
  PipelineSpec,
  Rate,
  RetryPolicy,
  Source,
} from './spec.ts';
export type { Instrument, Runtime } from './runtime.ts';
export type { DeliveryInfo, Message } from './message.ts';
export type { Context, EmitOptions } from './context.ts';
export type { Outcome, Settlement } from './outcome.ts';
export type { DrainReport, Health, RunningPipeline, Snapshot, State } from './running.ts';
export type { DeadLetterReason, Observer, PipelineEvent, SettledAs } from './events.ts';
export type { Claim, DedupeStore } from './dedupe.ts';
export { memoryDedupe } from './dedupe-memory.ts';
export { kvDedupe } from './dedupe-kv.ts';
export { DEAD_LETTER } from './dead-letter.ts';
export { readDeadLetters, replayDeadLetters } from './dead-letter-replay.ts';
export type { DeadLetter, DeadLetterReplay, DeadLetterReplayReport } from './dead-letter-replay.ts';
export { startBackstop } from './backstop.ts';
export type { Backstop, BackstopOptions } from './backstop.ts';
export type { Replay, ReplayOptions, ReplayProgress } from './replay.ts';
export {
  HandlerAborted,
  PermanentError,
  PipelineConfigError,
  PipelineFault,
  PublishError,
  RequestError,
  RetryAfterError,
} from './errors.ts';
export type { ConfigProblem } from './errors.ts';
export type {
  ConnectionEvent,
  HeaderInput,
  NatsHeaders,
  NatsMessage,
  NatsPort,
  NatsSubscription,
  PubAck,
  PublishOptions,
  SendOptions,
} from './port.ts';
export { systemClock } from './clock.ts';
export type { Clock, Timer } from './clock.ts';
export { silentLogger } from './log.ts';
export type { Logger } from './log.ts';
