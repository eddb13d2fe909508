import { isSpanContextValid, trace, TraceFlags, type Context, type Link, type Span } from '@opentelemetry/api';
import { Histogram } from 'prom-client';
import {
  ATTR_MESSAGING_DESTINATION_NAME,
  ATTR_MESSAGING_DESTINATION_TEMPLATE,
  ATTR_MESSAGING_MESSAGE_BODY_SIZE,
  ATTR_MESSAGING_MESSAGE_ID,
  ATTR_MESSAGING_OPERATION_NAME,
  ATTR_MESSAGING_OPERATION_TYPE,
  ATTR_MESSAGING_SYSTEM,
  ATTR_NATS_DUPLICATE,
  ATTR_NATS_SEQUENCE,
} from './attributes.ts';
import { observeWithExemplar } from './exemplar.ts';
import { DURATION_BUCKETS_SECONDS, metricNames } from './metric-names.ts';
import type { MetricsRegistry } from './registry.ts';
import { errorType, injectHeaders, withSpan } from './tracing.ts';

/** What is about to be published, as far as telemetry needs to know. */
export interface Publication {
  /** The subject. */
  readonly destination: string;
  /** The subject's name of few values, when ids are part of it: `jobs.{jobId}`. It names the span. */
  readonly template?: string;
  /** `Nats-Msg-Id`. */
  readonly id?: string;
  readonly bytes?: number;
  readonly jobId?: string;
  readonly links?: readonly Link[];
  readonly parent?: Context;
  /** A replay begins a trace of its own and links to the old one. */
  readonly root?: boolean;
}

/** What a PubAck says; structurally the engine's. */
interface Stored {
  readonly stream?: string;
  readonly sequence?: number;
  readonly duplicate?: boolean;
}

let duration: Histogram | undefined;

/** Gives {@link publishSpan} its histogram. Called by `startTelemetry`. */
export function registerPublishMetrics(registry: MetricsRegistry): void {
  duration = new Histogram({
    name: metricNames.publishDuration,
    help: 'Time from publishing to the confirmation that the message is stored.',
    labelNames: ['destination', 'error_type'],
    buckets: DURATION_BUCKETS_SECONDS,
    enableExemplars: true,
    registers: [registry],
  });
}

/**
 * Runs one publish inside a `publish {destination}` span that includes the wait for the PubAck. `send` gets the headers
 * that carry the span on to the consumer and must put them on the message.
 *
 * ```ts
 * await publishSpan({ destination: subject, template, id }, (headers) => nats.publish(subject, data, { id, headers }));
 * ```
 */
export async function publishSpan<R>(
  publication: Publication,
  send: (headers: Readonly<Record<string, string>>) => Promise<R>,
): Promise<R> {
  const started = performance.now();
  const template = publication.template ?? publication.destination;
  const observe = (error: string, span: Span | null | undefined): void => {
    if (duration === undefined) return;
    const labels = { destination: template, error_type: error };
    observeWithExemplar(duration, labels, (performance.now() - started) / 1000, span);
  };
  const sent = async (span: Span | null): Promise<R> => {
    try {
      const result = await send(injectHeaders());
      if (span !== null) noteStored(span, result);
      observe('', span);
      return result;
    } catch (error) {
      observe(errorType(error), span);
      throw error;
    }
  };
  // Under a span that is not recorded none of ours would be, and the trace is carried on as it stands.
  if (isUnsampled(publication)) return sent(null);
  return withSpan(
    `publish ${template}`,
    {
      kind: 'producer',
      attributes: attributesOf(publication, template),
      links: publication.links ?? [],
      ...(publication.parent === undefined ? {} : { parent: publication.parent }),
      ...(publication.root === undefined ? {} : { root: publication.root }),
      ...(publication.jobId === undefined ? {} : { jobId: publication.jobId }),
    },
    sent,
  );
}

function isUnsampled({ parent, root }: Publication): boolean {
  if (parent !== undefined || root === true) return false;
  const active = trace.getActiveSpan()?.spanContext();
  return active !== undefined && isSpanContextValid(active) && (active.traceFlags & TraceFlags.SAMPLED) === 0;
}

function attributesOf(publication: Publication, template: string): Record<string, string | number> {
  const attributes: Record<string, string | number> = {
    [ATTR_MESSAGING_SYSTEM]: 'nats',
    [ATTR_MESSAGING_OPERATION_NAME]: 'publish',
    [ATTR_MESSAGING_OPERATION_TYPE]: 'send',
    [ATTR_MESSAGING_DESTINATION_NAME]: publication.destination,
    [ATTR_MESSAGING_DESTINATION_TEMPLATE]: template,
  };
  if (publication.id !== undefined) attributes[ATTR_MESSAGING_MESSAGE_ID] = publication.id;
  if (publication.bytes !== undefined) attributes[ATTR_MESSAGING_MESSAGE_BODY_SIZE] = publication.bytes;
  return attributes;
}

function noteStored(span: Span, result: unknown): void {
  if (typeof result !== 'object' || result === null) return;
  const { sequence, duplicate } = result as Stored;
  if (typeof sequence === 'number') span.setAttribute(ATTR_NATS_SEQUENCE, sequence);
  if (duplicate === true) span.setAttribute(ATTR_NATS_DUPLICATE, true);
}
