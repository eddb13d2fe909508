import type { Logger } from './log.ts';
import { errorMessage } from './process/describe-error.ts';
import type { DeliveryInfo } from './process/message.ts';
import type { Outcome, Settlement } from './process/outcome.ts';
import type { Condition, ConditionCode, DrainReport, State } from './running.ts';

/** Why a message went to the dead letters. */
export type DeadLetterReason =
  | 'rejected'
  | 'permanent'
  | 'exhausted'
  | 'decode'
  | 'crashLoop'
  | 'cancelled'
  | 'stranded';

interface ByMessage {
  readonly message: DeliveryInfo;
}
interface BySource {
  readonly stream: string;
  readonly consumer: string;
}

/**
 * Everything the engine tells, as one union: metrics, traces, lifecycle events and tests are all observers of it.
 * Durations are milliseconds.
 */
export type PipelineEvent = { readonly pipeline: string } & (
  | ({ readonly type: 'message.received' } & ByMessage)
  | ({ readonly type: 'message.alreadyHeld' } & ByMessage)
  | ({ readonly type: 'message.started'; readonly waitedMs: number } & ByMessage)
  | ({
      readonly type: 'message.handled';
      readonly outcome: Outcome['kind'];
      readonly durationMs: number;
      readonly error: unknown;
    } & ByMessage)
  | ({ readonly type: 'message.timedOut'; readonly timeoutMs: number } & ByMessage)
  | ({
      readonly type: 'message.retryScheduled';
      readonly delayMs: number;
      readonly reason: string;
      readonly error: unknown;
    } & ByMessage)
  /** Sent back because of a limit: it comes again, and no attempt is used. */
  | ({
      readonly type: 'message.deferred';
      readonly delayMs: number;
      readonly limit: 'all' | 'perKey' | 'slots';
    } & ByMessage)
  | ({ readonly type: 'message.snoozed'; readonly delayMs: number; readonly reason: string } & ByMessage)
  | ({
      readonly type: 'message.deadLettered';
      readonly subject: string;
      readonly reason: DeadLetterReason;
      readonly error: unknown;
      readonly duplicate: boolean;
    } & ByMessage)
  | ({ readonly type: 'message.deadLetterFailed'; readonly delayMs: number; readonly error: unknown } & ByMessage)
  | ({ readonly type: 'message.settled'; readonly as: Settlement; readonly heldMs: number } & ByMessage)
  | ({ readonly type: 'emit.published'; readonly count: number } & ByMessage)
  | ({ readonly type: 'emit.failed'; readonly error: unknown } & ByMessage)
  | ({
      readonly type: 'idempotency.failed';
      readonly step: 'begin' | 'renew' | 'complete' | 'release';
      readonly error: unknown;
    } & ByMessage)
  | ({ readonly type: 'claim.lost' } & ByMessage)
  | ({ readonly type: 'handler.hung'; readonly hungHandlers: number } & ByMessage)
  | ({ readonly type: 'handler.hungReturned'; readonly hungHandlers: number } & ByMessage)
  | { readonly type: 'heartbeats.sent'; readonly count: number }
  | {
      readonly type: 'batch.started';
      readonly size: number;
      readonly bytes: number;
      readonly waitedMs: number;
      readonly closedBy: 'size' | 'bytes' | 'time' | 'demand' | 'drain';
    }
  | ({ readonly type: 'pull.requested'; readonly batch: number } & BySource)
  | { readonly type: 'prefetch.changed'; readonly prefetch: number }
  | { readonly type: 'rate.limited'; readonly waitMs: number }
  /** A lease of a shared limit was written: once for many messages. */
  | { readonly type: 'limits.written' }
  | { readonly type: 'limits.failed'; readonly error: unknown }
  | ({ readonly type: 'source.stalled'; readonly silentMs: number; readonly consecutive: number } & BySource)
  | ({ readonly type: 'source.missing'; readonly error: unknown; readonly retryMs: number } & BySource)
  | ({ readonly type: 'source.drifted'; readonly problems: readonly string[]; readonly retryMs: number } & BySource)
  | ({ readonly type: 'source.refused'; readonly description: string; readonly refusedMs: number } & BySource)
  | ({
      readonly type: 'source.denied';
      readonly operation: 'pull' | 'settle' | 'subscribe';
      readonly subject: string;
      readonly retryMs: number;
    } & BySource)
  | ({ readonly type: 'source.recovered' } & BySource)
  | ({ readonly type: 'partition.taken'; readonly partition: number; readonly messages: number } & BySource)
  | ({ readonly type: 'partition.released'; readonly partition: number } & BySource)
  | ({
      readonly type: 'partition.lost';
      readonly partition: number;
      readonly reason: string;
      readonly messages: number;
    } & BySource)
  | { readonly type: 'connection.lost' }
  | { readonly type: 'connection.restored'; readonly connections: number; readonly resent: number }
  | { readonly type: 'connection.closed' }
  | {
      readonly type: 'breaker.tripped';
      readonly failures: number;
      readonly samples: number;
      readonly coolDownMs: number;
    }
  | { readonly type: 'breaker.probing' }
  | { readonly type: 'breaker.closed' }
  | { readonly type: 'state.changed'; readonly from: State; readonly to: State; readonly reason: string }
  | { readonly type: 'condition.began'; readonly condition: Condition }
  | { readonly type: 'condition.ended'; readonly code: ConditionCode }
  | { readonly type: 'drain.finished'; readonly report: DrainReport }
);

/** Receives every event, synchronously and often: do little and do not throw (a throw is logged and dropped). */
export type Observer = (event: PipelineEvent) => void;

/** An observer that throws must not take a message with it. */
export function guardObserver(observe: Observer | undefined, log: Logger): Observer | undefined {
  if (observe === undefined) return undefined;
  return (event) => {
    try {
      observe(event);
    } catch (error) {
      log.error({ event: event.type, error: errorMessage(error) }, 'observer failed');
    }
  };
}
