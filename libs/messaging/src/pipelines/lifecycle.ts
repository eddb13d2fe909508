import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromDate, timestampMs } from '@bufbuild/protobuf/wkt';
import { channels, isSubjectToken, LifecycleEventSchema, subject, type LifecycleEvent } from '@sluice/contracts';
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
  /** More is soon to be said of the message: the event may wait for it, and be sent with it. */
  readonly mayWait?: boolean;
}

/** Tells the EVENTS stream what happened to a message. Best effort: never waits, never throws, never fails the work. */
export interface Lifecycle {
  (messageId: string, fact: LifecycleFact): void;
  /** Sends what waits. */
  flush(): void;
}

/** How long an event waits for the next one of its message: a run of a mail is over by then, and a reader does not notice. */
const WAIT_MS = 50;
/** Events that are sent as one. */
const MAX_TOGETHER = 16;
/** Messages whose events wait. */
const MAX_WAITING = 1_000;

/** Makes the reporter of one service instance. */
export function createLifecycle(
  port: Pick<NatsPort, 'connected' | 'send'>,
  who: {
    readonly app: string;
    readonly instance: string;
    readonly now?: () => Date;
    /** Told of an event that cannot be written. */
    readonly onUnsent?: (error: unknown) => void;
  },
): Lifecycle {
  const now = who.now ?? (() => new Date());
  const waiting = new Map<string, LifecycleEvent[]>();
  let timer: NodeJS.Timeout | undefined;

  const send = (messageId: string, events: readonly LifecycleEvent[]): void => {
    const last = events.at(-1);
    if (last === undefined || !port.connected) return;
    last.appId = who.app;
    last.messageId = messageId;
    last.instance = who.instance;
    last.earlier = events.slice(0, -1);
    last.heldMs = last.createdAt === undefined ? 0 : Math.max(0, now().getTime() - timestampMs(last.createdAt));
    try {
      port.send(subject(channels.event, { appId: who.app, messageId }), toBinary(LifecycleEventSchema, last));
    } catch (error) {
      // A number that is none, for one. The work goes on.
      who.onUnsent?.(error);
    }
  };
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const all = [...waiting];
    waiting.clear();
    for (const [messageId, events] of all) send(messageId, events);
  };

  const report = (messageId: string, fact: LifecycleFact): void => {
    if (!port.connected || !isSubjectToken(messageId)) return;
    const event = create(LifecycleEventSchema, {
      createdAt: timestampFromDate(now()),
      event: fact.event,
      attempt: fact.attempt ?? 0,
      detail: fact.detail ?? '',
      durationMs: fact.durationMs ?? 0,
      pipeline: fact.pipeline ?? '',
      traceId: fact.traceId ?? '',
    });
    const events = waiting.get(messageId) ?? [];
    events.push(event);
    if (fact.mayWait === true && events.length < MAX_TOGETHER) {
      waiting.set(messageId, events);
      if (waiting.size > MAX_WAITING) flush();
      // What is best effort keeps no process from its end.
      else timer ??= setTimeout(flush, WAIT_MS).unref();
      return;
    }
    waiting.delete(messageId);
    send(messageId, events);
  };
  return Object.assign(report, { flush });
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
      return { event: 'attempt', durationMs: event.waitedMs, mayWait: true };
    case 'message.handled':
      return { event: 'effect_done', durationMs: event.durationMs, detail: event.outcome, mayWait: true };
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
      return { event: 'received', mayWait: true };
    default:
      return undefined;
  }
}

const traceIdOf = (message: DeliveryInfo): string => message.headers.get('traceparent')?.[0]?.split('-')[1] ?? '';
