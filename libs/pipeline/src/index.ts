export { definePipeline } from './define-pipeline.ts';
export type { Pipeline } from './define-pipeline.ts';
export type { EnsureOptions, EnsureReport } from './ensure.ts';
export type {
  AttemptOptions,
  BatchHandler,
  BatchMiddleware,
  BatchOptions,
  BreakerOptions,
  DelayedEmitOptions,
  DeadLetterPolicy,
  DeadLettered,
  FlowOptions,
  Handler,
  IdempotencyOptions,
  LimitOptions,
  LimitsOptions,
  AckOptions,
  TimeoutOptions,
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
export { bySubject } from './process/by-subject.ts';
export type {
  Condition,
  ConditionCode,
  DrainReport,
  Explanation,
  Health,
  RunningPipeline,
  Snapshot,
  State,
  PartitionShare,
} from './running.ts';
export type { DeadLetterReason, Observer, PipelineEvent } from './events.ts';
export type { Claim, IdempotencyStore } from './idempotency/store.ts';
export type { AttemptRecord, AttemptStore } from './attempts/store.ts';
export { kvAttemptStore } from './attempts/kv-store.ts';
export { memoryIdempotencyStore } from './idempotency/memory-store.ts';
export { kvIdempotencyStore } from './idempotency/kv-store.ts';
export { natsLimits } from './limits/kv-store.ts';
export type { LimitEntry, LimitStore } from './limits/store.ts';
export { DEAD_LETTER } from './dead-letter/record.ts';
export { delayedMessages } from './delayed/forwarder.ts';
export type { DelayedOptions } from './delayed/forwarder.ts';
export { ensureDelayedStream } from './delayed/stream-check.ts';
export { readDeadLetters, redriveDeadLetters } from './dead-letter/redrive.ts';
export type { DeadLetter, Redrive, RedriveReport } from './dead-letter/redrive.ts';
export { startStrandedMessageScanner } from './dead-letter/stranded-messages.ts';
export type { StrandedMessageScanner, StrandedMessageScannerOptions } from './dead-letter/stranded-messages.ts';
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
