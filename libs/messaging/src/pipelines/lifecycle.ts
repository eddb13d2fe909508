import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { channels, isSubjectToken, LifecycleEventSchema, subject } from '@sluice/contracts';
import type { DeliveryInfo, NatsPort, Observer, PipelineEvent } from '@sluice/pipeline';
import { jobIdOf } from '../channels/message-id.ts';

/** What a lifecycle event says besides where and when. */
export interface LifecycleFact {
  readonly event: string;
  readonly attempt?: number;
  readonly detail?: string;
  readonly durationMs?: number;
  readonly pipeline?: string;
  readonly traceId?: string;
}

/** Tells the EVENTS stream what happened to a message. Best effort: never waits, never throws, never fails the work. */
export type Lifecycle = (messageId: string, fact: LifecycleFact) => void;

/** Makes the reporter of one service instance. */
export function createLifecycle(
  port: NatsPort,
  who: { readonly app: string; readonly instance: string; readonly now?: () => Date },
): Lifecycle {
  const now = who.now ?? (() => new Date());
  return (messageId, fact) => {
    if (!port.connected || !isSubjectToken(messageId)) return;
    const event = create(LifecycleEventSchema, {
      appId: who.app,
      messageId,
      instance: who.instance,
      createdAt: timestampFromDate(now()),
      event: fact.event,
      attempt: fact.attempt ?? 0,
      detail: fact.detail ?? '',
      durationMs: fact.durationMs ?? 0,
      pipeline: fact.pipeline ?? '',
      traceId: fact.traceId ?? '',
    });
    port.send(subject(channels.event, { appId: who.app, messageId }), toBinary(LifecycleEventSchema, event));
  };
}

/** An observer of the engine that reports every stage of every message as a lifecycle event of its job. */
export function lifecycleObserver(report: Lifecycle): Observer {
  return (event) => {
    if (!('message' in event)) return;
    const fact = factOf(event);
    if (fact === undefined) return;
    report(jobIdOf(event.message.id), {
      ...fact,
      attempt: event.message.attempt,
      pipeline: event.pipeline,
      traceId: traceIdOf(event.message),
    });
  };
}

type MessageEvent = Extract<PipelineEvent, { readonly message: DeliveryInfo }>;

function factOf(event: MessageEvent): LifecycleFact | undefined {
  switch (event.type) {
    case 'message.started':
      return { event: 'attempt', durationMs: event.waitedMs };
    case 'message.handled':
      return { event: 'effect_done', durationMs: event.durationMs, detail: event.outcome };
    case 'message.retryScheduled':
    case 'message.snoozed':
      return { event: 'retry_scheduled', durationMs: event.delayMs, detail: event.reason };
    case 'message.deadLettered':
      return { event: 'dead_lettered', detail: event.reason };
    case 'message.settled':
      return event.as === 'ack' || event.as === 'skip' || event.as === 'duplicate'
        ? { event: 'acked', detail: event.as }
        : undefined;
    case 'message.received':
      return { event: 'received' };
    default:
      return undefined;
  }
}

const traceIdOf = (message: DeliveryInfo): string => message.headers.get('traceparent')?.[0]?.split('-')[1] ?? '';
