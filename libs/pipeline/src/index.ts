export { definePipeline } from './define-pipeline.ts';
export type { Pipeline } from './define-pipeline.ts';
export type { Harness, HarnessDelivery } from './testing/harness.ts';
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
} from './config/spec.ts';
export type { Instrument, Runtime } from './runtime.ts';
export type { DeliveryInfo, Message } from './process/message.ts';
export type { Context, EmitOptions } from './process/context.ts';
export type { Outcome, Settlement } from './process/outcome.ts';
export type { DrainReport, Health, RunningPipeline, Snapshot, State } from './running.ts';
export type { DeadLetterReason, Observer, PipelineEvent, SettledAs } from './events.ts';
export type { Claim, DedupeStore } from './idempotency/store.ts';
export { memoryDedupe } from './idempotency/memory-store.ts';
export { kvDedupe } from './idempotency/kv-store.ts';
export { DEAD_LETTER } from './dead-letter/record.ts';
export { readDeadLetters, replayDeadLetters } from './dead-letter/redrive.ts';
export type { DeadLetter, DeadLetterReplay, DeadLetterReplayReport } from './dead-letter/redrive.ts';
export { startBackstop } from './dead-letter/stranded-messages.ts';
export type { Backstop, BackstopOptions } from './dead-letter/stranded-messages.ts';
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
} from './nats/port.ts';
export { systemClock } from './clock.ts';
export type { Clock, Timer } from './clock.ts';
export { silentLogger } from './log.ts';
export type { Logger } from './log.ts';
