import { context, trace, type Attributes, type Context, type Link, type Span } from '@opentelemetry/api';
import type { DeliveryInfo, HeaderInput, Instrument, Message, Observer, PipelineEvent } from '@sluice/pipeline';
import {
  ATTR_MESSAGING_BATCH_MESSAGE_COUNT,
  ATTR_MESSAGING_CONSUMER_GROUP_NAME,
  ATTR_MESSAGING_DESTINATION_NAME,
  ATTR_MESSAGING_DESTINATION_TEMPLATE,
  ATTR_MESSAGING_MESSAGE_BODY_SIZE,
  ATTR_MESSAGING_MESSAGE_CONVERSATION_ID,
  ATTR_MESSAGING_MESSAGE_ID,
  ATTR_MESSAGING_OPERATION_NAME,
  ATTR_MESSAGING_OPERATION_TYPE,
  ATTR_MESSAGING_SYSTEM,
  ATTR_NATS_DELIVERY_COUNT,
  ATTR_NATS_SEQUENCE,
  ATTR_NATS_STREAM,
  ATTR_OUTCOME,
  ATTR_PIPELINE,
} from './attributes.ts';
import { pipelineMetrics, type Watched } from './pipeline-metrics.ts';
import type { MetricsRegistry } from './registry.ts';
import {
  contextOfWork,
  contextWith,
  errorType,
  extractContext,
  failSpan,
  injectHeaders,
  linkTo,
  openSpan,
  unsampledContext,
} from './tracing.ts';

/**
 * How a `process` span stands to its publisher. `parent`: child, one continuous trace from curl to callback.
 * `link`: a trace of its own per hop, joined by links, as the messaging conventions recommend for large fan-outs.
 */
export type TraceMode = 'parent' | 'link';

export interface PipelineTelemetryOptions {
  readonly registry: MetricsRegistry;
  /** `PIPELINE_TRACE_MODE`; `parent` when absent. */
  readonly traceMode?: TraceMode;
  /** The low-cardinality name of a subject. When absent, tokens that look like ids become `{id}`. */
  readonly templateOf?: (subject: string) => string;
  /** The job a decoded message belongs to. When absent: its `jobId`, else its `job.id`. */
  readonly jobIdOf?: (data: unknown) => string | undefined;
  /**
   * A further span the message came from. When absent: its `traceparent`, else its `job.traceparent`, which names the
   * request that was accepted and matters where another trace moves the job on: a replay.
   */
  readonly originOf?: (data: unknown) => string | undefined;
  /** A redelivery of a message older than this begins a trace of its own. 10 minutes by default. */
  readonly maxTraceAgeMs?: number;
}

/** What the engine takes as `observe`, `instrument` and `inject`. */
export interface PipelineTelemetry {
  readonly observe: Observer;
  readonly instrument: Instrument;
  readonly inject: () => HeaderInput;
  /** Exposes a running pipeline's snapshot as gauges. */
  readonly watch: (pipeline: string, running: Watched) => void;
  /** Ends spans whose messages were given up by a drain. Call it after the drain. */
  readonly close: () => void;
}

/**
 * The engine's telemetry: a `process {template}` span around every handler, held open until the message is settled so
 * that retry, dead letter and ack are events on it, and all metrics of the engine.
 *
 * ```ts
 * const { observe, instrument, inject, watch } = pipelineTelemetry({ registry, traceMode: 'parent' });
 * const running = await pipeline.start({ nats, deps, observe, instrument, inject });
 * watch('url_to_pdf', running);
 * ```
 */
export function pipelineTelemetry(options: PipelineTelemetryOptions): PipelineTelemetry {
  const metrics = pipelineMetrics(options.registry);
  const templateOf = options.templateOf ?? guessTemplate;
  const jobIdOf = options.jobIdOf ?? ((data) => textField(data, 'jobId') ?? textField(field(data, 'job'), 'id'));
  const originOf =
    options.originOf ?? ((data) => textField(data, 'traceparent') ?? textField(field(data, 'job'), 'traceparent'));
  const traceMode = options.traceMode ?? 'parent';
  const maxTraceAgeMs = options.maxTraceAgeMs ?? 600_000;
  /** Spans of messages that were started and are not settled yet. */
  const open = new Map<DeliveryInfo, Span>();

  function spanOf(messages: readonly [Message<unknown>, ...Message<unknown>[]]): { span: Span; ctx: Context } {
    const [first] = messages;
    const template = templateOf(first.subject);
    const name = `process ${template}`;
    if (messages.length > 1) {
      const links = messages.flatMap((message) => linksOf(message, extractContext(message.headers)));
      const span = openSpan(name, {
        kind: 'consumer',
        root: true,
        links,
        attributes: { ...attributesOf(first, template), [ATTR_MESSAGING_BATCH_MESSAGE_COUNT]: messages.length },
      });
      return { span, ctx: contextWith(span, undefined) };
    }
    const publisher = extractContext(first.headers);
    const jobId = jobIdOf(first.data);
    const stale = first.deliveries > 1 && Date.now() - first.publishedAt.getTime() > maxTraceAgeMs;
    const root = traceMode === 'link' || stale;
    const span = openSpan(name, { kind: 'consumer', root }, publisher);
    // What only a recording span shows is not even built for another.
    if (span.isRecording()) {
      span.addLinks(root ? linksOf(first, publisher) : originLinks(first, publisher));
      span.setAttributes({
        ...attributesOf(first, template),
        [ATTR_MESSAGING_DESTINATION_NAME]: first.subject,
        [ATTR_MESSAGING_MESSAGE_ID]: first.id,
        [ATTR_MESSAGING_MESSAGE_BODY_SIZE]: first.bytes,
        [ATTR_NATS_SEQUENCE]: first.sequence,
        [ATTR_NATS_DELIVERY_COUNT]: first.deliveries,
      });
      if (jobId !== undefined) span.setAttribute(ATTR_MESSAGING_MESSAGE_CONVERSATION_ID, jobId);
    }
    return { span, ctx: contextWith(span, jobId, publisher) };
  }

  /** For a span without a parent: its publisher, and the span named inside the message. */
  function linksOf(message: Message<unknown>, publisher: Context): Link[] {
    const creation = trace.getSpanContext(publisher);
    return [...(creation === undefined ? [] : [{ context: creation }]), ...originLinks(message, publisher)];
  }

  /**
   * The span that a result, callback or replay names besides its publisher. Never the publisher itself: Jaeger turns a
   * link to the parent into FOLLOWS_FROM in place of CHILD_OF, shows no link, and its critical path ends there.
   */
  function originLinks(message: Message<unknown>, publisher: Context): Link[] {
    const origin = linkTo(originOf(message.data), { 'sluice.link': 'origin' });
    return origin === undefined || origin.context.spanId === trace.getSpanContext(publisher)?.spanId ? [] : [origin];
  }

  /** Most traces of a busy system are not sampled: nothing is built for a span that would record nothing. */
  function withoutSpan(messages: readonly [Message<unknown>, ...Message<unknown>[]]): Context | undefined {
    const [first] = messages;
    if (messages.length > 1 || traceMode === 'link' || first.deliveries > 1) return undefined;
    return unsampledContext(first.headers.get('traceparent')?.[0], () => jobIdOf(first.data));
  }

  const instrument: Instrument = async (messages, run) => {
    const unsampled = withoutSpan(messages);
    if (unsampled !== undefined) return context.with(unsampled, run);
    const { span, ctx } = spanOf(messages);
    const [first] = messages;
    const single = messages.length === 1;
    if (single) open.set(first, span);
    try {
      return await context.with(contextOfWork(ctx), run);
    } catch (error) {
      failSpan(span, error);
      throw error;
    } finally {
      if (!single) span.end();
    }
  };

  const observe: Observer = (event) => {
    const span = 'message' in event ? open.get(event.message) : undefined;
    metrics.record(event, span);
    if (span === undefined || !('message' in event)) return;
    noteOnSpan(span, event);
    if (event.type === 'message.settled') {
      open.delete(event.message);
      span.end();
    }
  };

  return {
    observe,
    instrument,
    inject: injectHeaders,
    watch: (pipeline, running) => metrics.watch(pipeline, running),
    close() {
      for (const span of open.values()) span.end();
      open.clear();
    },
  };
}

function attributesOf(message: DeliveryInfo, template: string): Attributes {
  return {
    [ATTR_MESSAGING_SYSTEM]: 'nats',
    [ATTR_MESSAGING_OPERATION_NAME]: 'process',
    [ATTR_MESSAGING_OPERATION_TYPE]: 'process',
    [ATTR_MESSAGING_DESTINATION_TEMPLATE]: template,
    [ATTR_MESSAGING_CONSUMER_GROUP_NAME]: message.consumer,
    [ATTR_NATS_STREAM]: message.stream,
  };
}

/** What happens to a message after its handler ran, as events on its span. */
function noteOnSpan(span: Span, event: PipelineEvent & { readonly message: DeliveryInfo }): void {
  switch (event.type) {
    case 'message.handled':
      span.setAttribute(ATTR_PIPELINE, event.pipeline);
      span.setAttribute(ATTR_OUTCOME, event.outcome);
      if (event.error !== undefined) failSpan(span, event.error);
      return;
    case 'message.timedOut':
      span.addEvent('handler timed out', { 'sluice.timeout_ms': event.timeoutMs });
      return;
    case 'message.retryScheduled':
      span.addEvent('retry scheduled', { 'sluice.delay_ms': event.delayMs });
      if (event.error !== undefined) failSpan(span, event.error);
      return;
    case 'message.snoozed':
      span.addEvent('snoozed', { 'sluice.delay_ms': event.delayMs });
      return;
    case 'message.deadLettered':
      span.addEvent('dead lettered', { 'sluice.reason': event.reason, 'error.type': errorType(event.error) });
      failSpan(span, event.error ?? new Error(`dead lettered: ${event.reason}`));
      return;
    case 'emit.published':
      span.addEvent('emits published', { 'messaging.batch.message_count': event.count });
      return;
    case 'emit.failed':
      failSpan(span, event.error);
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

function textField(data: unknown, name: string): string | undefined {
  const value = field(data, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function field(data: unknown, name: string): unknown {
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>)[name] : undefined;
}

/** Span names must be few: a token that is long, or of some length with a digit, is an id. */
function guessTemplate(subject: string): string {
  return subject
    .split('.')
    .map((token) => (token.length >= 20 || (token.length >= 8 && /\d/.test(token)) ? '{id}' : token))
    .join('.');
}
