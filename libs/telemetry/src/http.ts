import { context, ROOT_CONTEXT, trace, type Context, type Span } from '@opentelemetry/api';
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
} from '@opentelemetry/semantic-conventions';
import { SpanStatusCode } from '@opentelemetry/api';
import { SeriesHistogram, type HistogramSeries } from '@sluice/pipeline/prometheus';
import { Gauge } from 'prom-client';
import { exemplarLabels } from './exemplar.ts';
import { DURATION_BUCKETS_SECONDS, metricNames } from './metric-names.ts';
import type { MetricsRegistry } from './registry.ts';
import { RecordedSpan } from './spans/span.ts';
import { contextWith, extractContext, openSpan } from './tracing.ts';

/** The part of a Fastify request that is read. */
export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly protocol: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly routeOptions: { readonly url?: string | undefined };
}
/** The part of a Fastify reply that is used. */
export interface HttpReply {
  readonly statusCode: number;
  getHeader(name: string): number | string | string[] | undefined;
  header(name: string, value: string): unknown;
}
type Done = () => void;

export interface HttpTelemetryOptions {
  readonly registry: MetricsRegistry;
  /** Requests that leave no trace and no number. Health checks by default. */
  readonly ignore?: (path: string) => boolean;
}

/** Hooks with Fastify's shapes: register each under its own name, before any other hook. */
export interface HttpTelemetry {
  readonly onRequest: (request: HttpRequest, reply: HttpReply, done: Done) => void;
  readonly preValidation: (request: HttpRequest, reply: HttpReply, done: Done) => void;
  readonly onSend: (
    request: HttpRequest,
    reply: HttpReply,
    payload: unknown,
    done: (error: null, payload: unknown) => void,
  ) => void;
  readonly onResponse: (request: HttpRequest, reply: HttpReply, done: Done) => void;
  readonly onRequestAbort: (request: HttpRequest, done: Done) => void;
}

interface Held {
  readonly span: Span;
  readonly kind: RequestKind;
  readonly ctx: Context;
  readonly startedAt: number;
  streaming: boolean;
}

const HELD = Symbol('the span of a request');
/** What is kept of a request is kept on it, and goes with it. */
type HeldRequest = HttpRequest & { [HELD]?: Held | undefined };

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY']);
/** A poll that found nothing new. Clients poll for as long as a job takes, and such an answer is worth no trace of its own. */
const NOT_MODIFIED = 304;
const isHealthCheck = (path: string): boolean => path === '/healthz' || path === '/readyz' || path === '/metrics';

/**
 * Server spans, request metrics and trace headers for Fastify. Every response says which trace it is
 * (`traceresponse`, `x-trace-id`). A poll that found nothing new (304) leaves no span, unless the caller's trace has it
 * as a part. A server-sent event stream is one long span and stays out of the duration
 * histogram, where an hour of listening would read as a slow request.
 *
 * ```ts
 * const http = httpTelemetry({ registry });
 * app.addHook('onRequest', http.onRequest);
 * app.addHook('preValidation', http.preValidation);
 * app.addHook('onSend', http.onSend);
 * app.addHook('onResponse', http.onResponse);
 * app.addHook('onRequestAbort', http.onRequestAbort);
 * ```
 */
export function httpTelemetry(options: HttpTelemetryOptions): HttpTelemetry {
  const ignore = options.ignore ?? isHealthCheck;
  const registers = [options.registry];
  const duration = new SeriesHistogram({
    name: metricNames.httpDuration,
    help: 'From the request line to the last byte of the answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [...DURATION_BUCKETS_SECONDS],
    enableExemplars: true,
    registers,
  });
  const active = new Gauge({ name: metricNames.httpActive, help: 'Requests being answered.', registers });
  const streams = new Gauge({ name: metricNames.httpStreams, help: 'Open server-sent event streams.', registers });
  const kinds = new RequestKinds();

  function finish(request: HeldRequest, status: number, aborted: boolean): void {
    const found = request[HELD];
    if (found === undefined) return;
    request[HELD] = undefined;
    active.dec();
    const { span, streaming } = found;
    if (streaming) streams.dec();
    if (status === NOT_MODIFIED && span instanceof RecordedSpan && span.parentSpanContext === undefined) span.discard();
    span.setAttribute(ATTR_HTTP_RESPONSE_STATUS_CODE, status);
    if (status >= 500) {
      span.setAttribute(ATTR_ERROR_TYPE, String(status));
      span.setStatus({ code: SpanStatusCode.ERROR });
    } else if (aborted && !streaming) {
      span.setAttribute(ATTR_ERROR_TYPE, 'aborted');
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    if (!streaming) {
      const { kind } = found;
      let series = kind.series.get(status);
      if (series === undefined) {
        series = duration.of({ method: kind.method, route: kind.route ?? '', status: String(status) });
        kind.series.set(status, series);
      }
      // An exemplar of a span that is not there would lead nowhere.
      const exemplar = span.isRecording() ? exemplarLabels(span) : undefined;
      series.observe((performance.now() - found.startedAt) / 1000, exemplar);
    }
    span.end();
  }

  return {
    onRequest(request, reply, done) {
      const path = pathOf(request.url);
      if (ignore(path)) return done();
      const method = methods.has(request.method) ? request.method : '_OTHER';
      const kind = kinds.of(method, request.routeOptions.url);
      const { name, route } = kind;
      const incoming = request.headers['traceparent'] === undefined ? ROOT_CONTEXT : extractContext(request.headers);
      const span = openSpan(name, { kind: 'server' }, incoming);
      // No sampler asks for them, and most spans of a busy process are not recorded.
      if (span.isRecording()) {
        span.setAttribute(ATTR_HTTP_REQUEST_METHOD, method);
        span.setAttribute(ATTR_URL_PATH, path);
        span.setAttribute(ATTR_URL_SCHEME, request.protocol);
        if (route !== undefined) span.setAttribute(ATTR_HTTP_ROUTE, route);
      }
      const ctx = contextWith(span, undefined, incoming);
      (request as HeldRequest)[HELD] = { span, kind, ctx, startedAt: performance.now(), streaming: false };
      active.inc();
      const { traceId, spanId, traceFlags } = span.spanContext();
      reply.header('traceresponse', `00-${traceId}-${spanId}-0${traceFlags & 1}`);
      reply.header('x-trace-id', traceId);
      context.with(ctx, done);
    },

    // The body is read in the socket's context, not in ours: step back in before anything of the application runs.
    preValidation(request, _reply, done) {
      const found = (request as HeldRequest)[HELD];
      if (found === undefined || trace.getActiveSpan() === found.span) return done();
      context.with(found.ctx, done);
    },

    onSend(request, reply, payload, done) {
      const found = (request as HeldRequest)[HELD];
      if (found !== undefined && String(reply.getHeader('content-type') ?? '').startsWith('text/event-stream')) {
        found.streaming = true;
        found.span.addEvent('stream opened');
        streams.inc();
      }
      done(null, payload);
    },

    onResponse(request, reply, done) {
      finish(request, reply.statusCode, false);
      done();
    },

    // The client went away; onResponse may still follow and then finds nothing left to do.
    onRequestAbort(request, done) {
      finish(request, 499, true);
      done();
    },
  };
}

/** Requests of one method and route: what their spans are called, and where their durations are counted. */
interface RequestKind {
  readonly method: string;
  readonly route: string | undefined;
  readonly name: string;
  /** By status. */
  readonly series: Map<number, HistogramSeries>;
}

/** The kinds of requests, made once a route and method: there are as many as routes. */
class RequestKinds {
  readonly #made = new Map<string | undefined, Map<string, RequestKind>>();

  of(method: string, url: string | undefined): RequestKind {
    let ofRoute = this.#made.get(url);
    if (ofRoute === undefined) this.#made.set(url, (ofRoute = new Map<string, RequestKind>()));
    let kind = ofRoute.get(method);
    if (kind === undefined) {
      const route = url === undefined ? undefined : readableRoute(url);
      const name = route === undefined ? method : `${method} ${route}`;
      ofRoute.set(method, (kind = { method, route, name, series: new Map() }));
    }
    return kind;
  }
}

/** The route without Fastify's own notation: `/v1/jobs/:id(^[^/:]+)::cancel` is `/v1/jobs/:id:cancel` in metrics and traces. */
const readableRoute = (url: string): string => url.replace(/\([^)]*\)/g, '').replaceAll('::', ':');

const QUERY = 0x3f;
const FRAGMENT = 0x23;

function pathOf(url: string): string {
  for (let at = 0; at < url.length; at += 1) {
    const code = url.charCodeAt(at);
    if (code === QUERY || code === FRAGMENT) return url.slice(0, at);
  }
  return url;
}
