import {
  isSpanContextValid,
  SpanStatusCode,
  type Attributes,
  type Exception,
  type Link,
  type Span,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  type TimeInput,
} from '@opentelemetry/api';
import { epochMs, epochOf } from './clock.ts';

/** Longer texts are cut, so that no span outgrows its batch. */
const MAX_TEXT_LENGTH = 1024;
const MAX_ATTRIBUTES = 128;
const MAX_EVENTS = 64;
const MAX_LINKS = 128;

/** Names and values in turns: quicker to fill and to read than an object whose keys differ from span to span. */
export type AttributePairs = unknown[];

export interface SpanEvent {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly attributes: Attributes | undefined;
}

/** A span that has ended, as those that look on see it. */
export interface EndedSpan {
  readonly name: string;
  /** Name of the tracer that made it. */
  readonly scope: string;
  readonly kind: SpanKind;
  readonly parentSpanContext: SpanContext | undefined;
  /** Milliseconds since 1970, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly events: readonly SpanEvent[];
  readonly links: readonly Link[];
  readonly status: SpanStatus;
  spanContext(): SpanContext;
}

interface SpanStart {
  readonly name: string;
  readonly scope: string;
  readonly kind: SpanKind;
  readonly context: SpanContext;
  readonly parent: SpanContext | undefined;
  readonly startTime: TimeInput | undefined;
  /** Called once, when the span ends. */
  readonly onEnd: (span: RecordedSpan) => void;
}

/** Ten years: a smaller time is one since the process started, a larger one is since 1970. */
const SINCE_START_MAX_MS = 10 * 365 * 24 * 3600 * 1000;
const NONE: readonly never[] = [];
const UNSET: SpanStatus = { code: SpanStatusCode.UNSET };

/**
 * A span of a sampled trace: `recording` until `end` is called, then `ended`, after which nothing changes it. Lists are
 * made once there is something in them: most spans have no events and no links.
 */
export class RecordedSpan implements Span, EndedSpan {
  readonly scope: string;
  readonly kind: SpanKind;
  readonly parentSpanContext: SpanContext | undefined;
  readonly startMs: number;
  readonly attributePairs: AttributePairs = [];
  name: string;
  endMs = 0;
  status: SpanStatus = UNSET;
  /** What the limits kept out. */
  droppedAttributes = 0;
  droppedEvents = 0;
  droppedLinks = 0;
  readonly #context: SpanContext;
  readonly #onEnd: (span: RecordedSpan) => void;
  #events: SpanEvent[] | undefined = undefined;
  #links: Link[] | undefined = undefined;

  constructor({ name, scope, kind, context, parent, startTime, onEnd }: SpanStart) {
    this.name = name;
    this.scope = scope;
    this.kind = kind;
    this.parentSpanContext = parent;
    this.startMs = startTime === undefined ? epochMs() : timeMs(startTime);
    this.#context = context;
    this.#onEnd = onEnd;
  }

  get attributes(): Attributes {
    const attributes: Attributes = {};
    for (let at = 0; at < this.attributePairs.length; at += 2) {
      attributes[this.attributePairs[at] as string] = this.attributePairs[at + 1];
    }
    return attributes;
  }

  get events(): readonly SpanEvent[] {
    return this.#events ?? NONE;
  }

  get links(): readonly Link[] {
    return this.#links ?? NONE;
  }

  spanContext(): SpanContext {
    return this.#context;
  }

  isRecording(): boolean {
    return this.endMs === 0;
  }

  setAttribute(name: string, value: unknown): this {
    if (this.endMs !== 0 || name === '' || !isAttributeValue(value)) return this;
    const pairs = this.attributePairs;
    for (let at = 0; at < pairs.length; at += 2) {
      if (pairs[at] === name) {
        pairs[at + 1] = shortened(value);
        return this;
      }
    }
    if (pairs.length >= 2 * MAX_ATTRIBUTES) this.droppedAttributes += 1;
    else pairs.push(name, shortened(value));
    return this;
  }

  setAttributes(attributes: Attributes): this {
    for (const name in attributes) this.setAttribute(name, attributes[name]);
    return this;
  }

  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    if (this.endMs !== 0) return this;
    const isTime = isTimeInput(attributesOrTime);
    const at = isTime ? attributesOrTime : time;
    const event = {
      name,
      atMs: at === undefined ? epochMs() : timeMs(at),
      attributes: isTime ? undefined : attributesOrTime,
    };
    if (this.#events === undefined) this.#events = [event];
    else {
      // The last ones say how it ended.
      if (this.#events.length >= MAX_EVENTS) {
        this.#events.shift();
        this.droppedEvents += 1;
      }
      this.#events.push(event);
    }
    return this;
  }

  addLink(link: Link): this {
    // A receiver refuses a whole batch for one id of the wrong length.
    if (this.endMs !== 0 || !isSpanContextValid(link.context)) return this;
    this.#links ??= [];
    if (this.#links.length >= MAX_LINKS) this.droppedLinks += 1;
    else this.#links.push(link);
    return this;
  }

  addLinks(links: readonly Link[]): this {
    for (const link of links) this.addLink(link);
    return this;
  }

  setStatus({ code, message }: SpanStatus): this {
    if (this.endMs !== 0 || code === SpanStatusCode.UNSET || this.status.code === SpanStatusCode.OK) return this;
    // The specification: only an error has a text.
    this.status = code === SpanStatusCode.ERROR && message !== undefined ? { code, message } : { code };
    return this;
  }

  updateName(name: string): this {
    if (this.endMs === 0) this.name = name;
    return this;
  }

  recordException(exception: Exception, time?: TimeInput): void {
    const { code, name, message, stack } =
      typeof exception === 'string'
        ? { message: exception, code: undefined, name: undefined, stack: undefined }
        : exception;
    this.addEvent(
      'exception',
      {
        ...(code === undefined && name === undefined ? {} : { 'exception.type': String(code ?? name) }),
        ...(message === undefined ? {} : { 'exception.message': message }),
        ...(stack === undefined ? {} : { 'exception.stacktrace': stack }),
      },
      time,
    );
  }

  /** Ends it without a word to those that look on: what it covers turned out to be worth no span. */
  discard(): void {
    if (this.endMs === 0) this.endMs = Math.max(this.startMs, epochMs());
  }

  end(endTime?: TimeInput): void {
    if (this.endMs !== 0) return;
    const endMs = endTime === undefined ? epochMs() : timeMs(endTime);
    // System time that was put back must not make a span of negative length.
    this.endMs = Math.max(this.startMs, endMs);
    this.#onEnd(this);
  }
}

/** Whether OTLP has a form for it. */
export const isAttributeValue = (value: unknown): boolean =>
  typeof value === 'string' ||
  typeof value === 'number' ||
  typeof value === 'boolean' ||
  (typeof value === 'object' && value !== null);

/** The value as it is kept: long texts are cut. */
function shortened(value: unknown): unknown {
  if (typeof value === 'string') return value.length > MAX_TEXT_LENGTH ? value.slice(0, MAX_TEXT_LENGTH) : value;
  return Array.isArray(value) ? value.map(shortened) : value;
}

const isTimeInput = (value: Attributes | TimeInput | undefined): value is TimeInput =>
  typeof value === 'number' || value instanceof Date || Array.isArray(value);

/** As the API defines its times: since 1970, since the process started (`performance.now()`), or seconds and nanoseconds. */
function timeMs(time: TimeInput): number {
  if (time instanceof Date) return time.getTime();
  if (typeof time !== 'number') return time[0] * 1000 + time[1] / 1e6;
  return time < SINCE_START_MAX_MS ? epochOf(time) : time;
}
