import {
  context,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Link,
  type Span,
  type SpanContext,
} from '@opentelemetry/api';
import type { DeliveryInfo } from '../process/message.ts';
import { firstHeader, lacksHeader, testHeader } from '../process/message-view.ts';

/** What a carrier of headers may look like: HTTP's, a message's, or the engine's map. */
export type CarriedHeaders =
  | ReadonlyMap<string, readonly string[]>
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/** `traceparent` and `tracestate` of the active span, lowercase as NATS headers are case-sensitive; empty without one. */
export function injectHeaders(): Record<string, string> {
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return headers;
}

/** The context that a message or request carries; a bare one when it carries none or a malformed one. */
export function extractContext(headers: CarriedHeaders, base: Context = ROOT_CONTEXT): Context {
  return propagation.extract(base, headers, {
    get: (carrier, key) => readHeader(carrier, key),
    keys: (carrier) => (isHeaderMap(carrier) ? [...carrier.keys()] : Object.keys(carrier)),
  });
}

/** As {@link extractContext} of the headers of a message, which the client would parse all at the first look. */
export function extractMessageContext(message: DeliveryInfo): Context {
  return propagation.extract(ROOT_CONTEXT, message, {
    get: (carrier, key) => {
      // Of the specification this one has one value; others may have several.
      const found = key === 'traceparent' ? firstHeader(carrier, key) : undefined;
      return found ?? (lacksHeader(carrier, key) ? undefined : readHeader(carrier.headers, key));
    },
    keys: (carrier) => [...carrier.headers.keys()],
  });
}

/** A link to the span a `traceparent` names; `undefined` when there is none or it is malformed. */
export function linkTo(traceparent: string | undefined, attributes?: Attributes): Link | undefined {
  const parsed = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  return parsed === undefined ? undefined : { context: parsed, ...(attributes === undefined ? {} : { attributes }) };
}

// https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, span id, flags; a later version may add more.
const TRACEPARENT = /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;
// All zeros look like an id and mean nothing.
const UNSAMPLED = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-00$/;

function parseTraceparent(text: string): SpanContext | undefined {
  const match = TRACEPARENT.exec(text.trim());
  if (match === null || (text.startsWith('00') && match[4] !== undefined)) return undefined;
  const [, traceId = '', spanId = '', flags = ''] = match;
  const parsed = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
  return isSpanContextValid(parsed) ? parsed : undefined;
}

// The key under which a context keeps its span is not exported; a caller that asks for the span gets it.
const spanKey = ((): symbol => {
  let asked = Symbol('span');
  trace.getSpan({
    getValue(key) {
      asked = key;
      return undefined;
    },
    setValue: () => ROOT_CONTEXT,
    deleteValue: () => ROOT_CONTEXT,
  });
  return asked;
})();

/**
 * The context of a message whose trace was not sampled, made for next to nothing: with a sampler that follows its
 * parent, no span under it can record. Logs and what is published inside still belong to that trace, so it is read from
 * the header once it is asked for. Undefined when the header says otherwise, or cannot be parsed.
 */
export function unsampledContext(message: DeliveryInfo): Context | undefined {
  const isUnsampled = testHeader(message, 'traceparent', isUnsampledTraceparent);
  if (isUnsampled === false) return undefined;
  if (isUnsampled === undefined && !UNSAMPLED.test(firstHeader(message, 'traceparent') ?? '')) return undefined;
  return new UnsampledContext(message);
}

const LENGTH = 55;
const [TRACE_ID, SPAN_ID, FLAGS] = [3, 36, 53] as const;
const [ZERO, NINE, LOWER_A, LOWER_F, DASH] = [48, 57, 97, 102, 45] as const;

/** As `UNSAMPLED`, of bytes. */
export function isUnsampledTraceparent(block: Uint8Array, from: number, to: number): boolean {
  return (
    to - from === LENGTH &&
    block[from] === ZERO &&
    block[from + 1] === ZERO &&
    block[from + FLAGS] === ZERO &&
    block[from + FLAGS + 1] === ZERO &&
    block[from + TRACE_ID - 1] === DASH &&
    block[from + SPAN_ID - 1] === DASH &&
    block[from + FLAGS - 1] === DASH &&
    isId(block, from + TRACE_ID, from + SPAN_ID - 1) &&
    isId(block, from + SPAN_ID, from + FLAGS - 1)
  );
}

/** Hexadecimal digits that are not all zero. */
function isId(block: Uint8Array, from: number, to: number): boolean {
  let isZero = true;
  for (let at = from; at < to; at += 1) {
    const digit = block[at] as number;
    if (digit !== ZERO) isZero = false;
    if ((digit < ZERO || digit > NINE) && (digit < LOWER_A || digit > LOWER_F)) return false;
  }
  return !isZero;
}

/** The context in which `span` is active: as `trace.setSpan`, without a copy of all that `base` holds. */
export const contextWithSpan = (base: Context, span: Span): Context => new SpanOverContext(base, span);

class SpanOverContext implements Context {
  readonly #base: Context;
  readonly #span: Span;

  constructor(base: Context, span: Span) {
    this.#base = base;
    this.#span = span;
  }

  getValue(key: symbol): unknown {
    return key === spanKey ? this.#span : this.#base.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return trace.setSpan(this.#base, this.#span).setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return trace.setSpan(this.#base, this.#span).deleteValue(key);
  }
}

class UnsampledContext implements Context {
  readonly #message: DeliveryInfo;
  #span: Span | undefined;

  constructor(message: DeliveryInfo) {
    this.#message = message;
  }

  getValue(key: symbol): unknown {
    return key === spanKey ? this.#readSpan() : undefined;
  }

  setValue(key: symbol, value: unknown): Context {
    return this.#whole().setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.#whole().deleteValue(key);
  }

  #readSpan(): Span | undefined {
    if (this.#span !== undefined) return this.#span;
    const parsed = parseTraceparent(firstHeader(this.#message, 'traceparent') ?? '');
    return parsed === undefined ? undefined : (this.#span = trace.wrapSpanContext(parsed));
  }

  #whole(): Context {
    const span = this.#readSpan();
    return span === undefined ? ROOT_CONTEXT : trace.setSpan(ROOT_CONTEXT, span);
  }
}

function isHeaderMap(headers: CarriedHeaders): headers is ReadonlyMap<string, readonly string[]> {
  return headers instanceof Map;
}

/** NATS header names are case-sensitive, and other publishers write `Traceparent`: exact first, then any spelling. */
function readHeader(headers: CarriedHeaders, name: string): string | undefined {
  const read = (key: string): string | readonly string[] | undefined =>
    isHeaderMap(headers) ? headers.get(key) : headers[key];
  let found = read(name);
  if (found === undefined) {
    for (const key of isHeaderMap(headers) ? headers.keys() : Object.keys(headers)) {
      if (key.toLowerCase() === name) found = read(key);
    }
  }
  if (found === undefined || typeof found === 'string') return found;
  return found.length === 0 ? undefined : found.join(',');
}
