import { context, SpanKind, trace, type Context, type Link, type Span, type Tracer } from '@opentelemetry/api';
import type { Observer, PipelineEvent } from '../events.ts';
import type { HeaderInput } from '../nats/port.ts';
import type { DeliveryInfo, Message } from '../process/message.ts';
import type { Instrument } from '../runtime.ts';
import { ATTRIBUTES } from './attributes.ts';
import { errorType, failSpan } from './errors.ts';
import { contextWithSpan, extractMessageContext, injectHeaders, linkTo, unsampledContext } from './propagation.ts';

/**
 * How a `process` span stands to its publisher. `parent`: child, one continuous trace over all hops. `link`: a trace of
 * its own per hop, joined by links, as the messaging conventions recommend for large fan-outs.
 */
export type TraceMode = 'parent' | 'link';

export interface PipelineTracingOptions {
  /** Makes the spans; the global provider's tracer `@sluice/pipeline` when absent. */
  readonly tracer?: Tracer;
  /** `parent` when absent. */
  readonly traceMode?: TraceMode;
  /** The low-cardinality name of a subject. When absent, tokens that look like ids become `{id}`. */
  readonly templateOf?: (subject: string) => string;
  /** What a decoded message belongs to, a job or an order: `messaging.message.conversation_id`. */
  readonly conversationIdOf?: (data: unknown) => string | undefined;
  /** `traceparent` of a further span that a decoded message came from, which its span then links to. */
  readonly originOf?: (data: unknown) => string | undefined;
  /** A redelivery of a message older than this begins a trace of its own. 10 minutes by default. */
  readonly maxTraceAgeMs?: number;
  /** Text of a failed span's status. When absent the error's code or class: messages of errors may be personal. */
  readonly statusOf?: (error: unknown) => string;
  /**
   * The context a handler runs in, made of the one with its span; `conversationId` is worked out when it is called.
   * `recorded` is false for a message whose trace is not sampled.
   */
  readonly contextOf?: (base: Context, conversationId: () => string | undefined, recorded: boolean) => Context;
}

/** What the engine takes as `observe`, `instrument` and `inject`. */
export interface PipelineTracing {
  readonly observe: Observer;
  readonly instrument: Instrument;
  readonly inject: () => HeaderInput;
  /** The span that is open for the message of an event, for exemplars. Ask before `observe` was given the event. */
  readonly spanOf: (event: PipelineEvent) => Span | undefined;
  /** Ends spans whose messages were given up by a drain. Call it after the drain. */
  readonly close: () => void;
}

type Messages = readonly [Message<unknown>, ...Message<unknown>[]];

const nothing = (): undefined => undefined;

/**
 * A `process {template}` span around every handler, held open until the message is settled so that retry, dead letter
 * and ack are events on it.
 *
 * @example
 * const { observe, instrument, inject } = pipelineTracing();
 * const running = await pipeline.start({ nats, deps, observe, instrument, inject });
 */
export function pipelineTracing(options: PipelineTracingOptions = {}): PipelineTracing {
  const { traceMode = 'parent', templateOf = remember(guessTemplate), originOf = nothing } = options;
  const { conversationIdOf = nothing } = options;
  const { maxTraceAgeMs = 600_000, statusOf = errorType, contextOf = (base: Context) => base } = options;
  /** The global provider may be set later, so it is asked when a span is made. */
  const tracer = (): Tracer => options.tracer ?? trace.getTracer('@sluice/pipeline');
  /** Spans of messages that were started and are not settled yet. */
  const open = new Map<DeliveryInfo, Span>();

  function spanOfBatch(messages: Messages): { span: Span; ctx: Context } {
    const [first] = messages;
    const template = templateOf(first.subject);
    const links = messages.flatMap((message) => linksOf(message, extractMessageContext(message)));
    const span = tracer().startSpan(
      `process ${template}`,
      { kind: SpanKind.CONSUMER, root: true, links },
      context.active(),
    );
    setAttributes(span, first, template);
    span.setAttribute(ATTRIBUTES.batchCount, messages.length);
    return { span, ctx: contextOf(contextWithSpan(context.active(), span), nothing, true) };
  }

  function spanOfOne(message: Message<unknown>): { span: Span; ctx: Context } {
    const template = templateOf(message.subject);
    const publisher = extractMessageContext(message);
    const stale = message.deliveries > 1 && Date.now() - message.publishedAt.getTime() > maxTraceAgeMs;
    const root = traceMode === 'link' || stale;
    const span = tracer().startSpan(`process ${template}`, { kind: SpanKind.CONSUMER, root }, publisher);
    const conversationId = conversationIdOf(message.data);
    // What only a recording span shows is not even built for another.
    if (span.isRecording()) {
      const links = root ? linksOf(message, publisher) : originLinks(message, publisher);
      if (links.length > 0) span.addLinks(links);
      setAttributes(span, message, template);
      span.setAttribute(ATTRIBUTES.destinationName, message.subject);
      span.setAttribute(ATTRIBUTES.messageId, message.id);
      span.setAttribute(ATTRIBUTES.bodySize, message.bytes);
      span.setAttribute(ATTRIBUTES.sequence, message.sequence);
      span.setAttribute(ATTRIBUTES.deliveryCount, message.deliveries);
      if (conversationId !== undefined) span.setAttribute(ATTRIBUTES.conversationId, conversationId);
    }
    return { span, ctx: contextOf(contextWithSpan(publisher, span), () => conversationId, true) };
  }

  /** For a span without a parent: its publisher, and the span named inside the message. */
  function linksOf(message: Message<unknown>, publisher: Context): Link[] {
    const creation = trace.getSpanContext(publisher);
    return [...(creation === undefined ? [] : [{ context: creation }]), ...originLinks(message, publisher)];
  }

  /**
   * The span that a result, callback or replay names besides its publisher. Never the publisher itself: Jaeger turns a
   * link to the parent into FOLLOWS_FROM in place of CHILD_OF, and shows no link.
   */
  function originLinks(message: Message<unknown>, publisher: Context): Link[] {
    const origin = linkTo(originOf(message.data), { 'sluice.link': 'origin' });
    return origin === undefined || origin.context.spanId === trace.getSpanContext(publisher)?.spanId ? [] : [origin];
  }

  /** Most traces of a busy system are not sampled: nothing is built for a span that would record nothing. */
  function withoutSpan(messages: Messages): Context | undefined {
    const [first] = messages;
    if (messages.length > 1 || traceMode === 'link' || first.deliveries > 1) return undefined;
    const base = unsampledContext(first);
    return base === undefined ? undefined : contextOf(base, () => conversationIdOf(first.data), false);
  }

  // Not async itself: a message that is not sampled needs no promise more.
  const instrument: Instrument = (messages, run) => {
    const unsampled = withoutSpan(messages);
    return unsampled === undefined ? withSpan(messages, run) : context.with(unsampled, run);
  };

  const withSpan: Instrument = async (messages, run) => {
    const [first] = messages;
    const single = messages.length === 1;
    const { span, ctx } = single ? spanOfOne(first) : spanOfBatch(messages);
    if (single) open.set(first, span);
    try {
      return await context.with(ctx, run);
    } catch (error) {
      failSpan(span, error, statusOf);
      throw error;
    } finally {
      if (!single) span.end();
    }
  };

  const spanOf = (event: PipelineEvent): Span | undefined =>
    open.size > 0 && 'message' in event ? open.get(event.message) : undefined;

  const observe: Observer = (event) => {
    const span = spanOf(event);
    if (span === undefined || !('message' in event)) return;
    noteOnSpan(span, event, statusOf);
    if (event.type !== 'message.settled') return;
    open.delete(event.message);
    span.end();
  };

  return {
    observe,
    instrument,
    inject: injectHeaders,
    spanOf,
    close() {
      for (const span of open.values()) span.end();
      open.clear();
    },
  };
}

/** What all messages of a batch share. One by one: an object of them all would be made for each span. */
function setAttributes(span: Span, message: DeliveryInfo, template: string): void {
  span.setAttribute(ATTRIBUTES.system, 'nats');
  span.setAttribute(ATTRIBUTES.operationName, 'process');
  span.setAttribute(ATTRIBUTES.operationType, 'process');
  span.setAttribute(ATTRIBUTES.destinationTemplate, template);
  span.setAttribute(ATTRIBUTES.consumerGroup, message.consumer);
  span.setAttribute(ATTRIBUTES.stream, message.stream);
}

/** What happens to a message after its handler ran, as events on its span. */
function noteOnSpan(
  span: Span,
  event: PipelineEvent & { readonly message: DeliveryInfo },
  statusOf: (error: unknown) => string,
): void {
  switch (event.type) {
    case 'message.handled':
      span.setAttribute(ATTRIBUTES.pipeline, event.pipeline);
      span.setAttribute(ATTRIBUTES.outcome, event.outcome);
      if (event.error !== undefined) failSpan(span, event.error, statusOf);
      return;
    case 'message.timedOut':
      span.addEvent('handler timed out', { 'sluice.timeout_ms': event.timeoutMs });
      return;
    case 'message.retryScheduled':
      span.addEvent('retry scheduled', { 'sluice.delay_ms': event.delayMs });
      if (event.error !== undefined) failSpan(span, event.error, statusOf);
      return;
    case 'message.snoozed':
      span.addEvent('snoozed', { 'sluice.delay_ms': event.delayMs });
      return;
    case 'message.deadLettered':
      span.addEvent('dead lettered', { 'sluice.reason': event.reason, 'error.type': errorType(event.error) });
      failSpan(span, event.error ?? new Error(`dead lettered: ${event.reason}`), statusOf);
      return;
    case 'emit.published':
      span.addEvent('emits published', { 'messaging.batch.message_count': event.count });
      return;
    case 'emit.failed':
      failSpan(span, event.error, statusOf);
      return;
    case 'claim.lost':
      span.addEvent('claim lost');
      return;
    case 'message.settled':
      span.addEvent('settled', { 'sluice.as': event.as });
      return;
    default:
      return;
  }
}

/** The last result again for the same text: messages of a subject come in runs. */
function remember(of: (text: string) => string): (text: string) => string {
  let last: string | undefined;
  let result = '';
  return (text) => {
    if (text !== last) {
      result = of(text);
      last = text;
    }
    return result;
  };
}

/** Span names must be few: a token that is long, or of some length with a digit, is an id. */
function guessTemplate(subject: string): string {
  return subject
    .split('.')
    .map((token) => (token.length >= 20 || (token.length >= 8 && /\d/.test(token)) ? '{id}' : token))
    .join('.');
}
