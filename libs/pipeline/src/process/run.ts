import { hash } from 'node:crypto';
import type { Context, EmitOptions } from './context.ts';
import { ContextView } from './context-view.ts';
import type { Delivery } from './delivery.ts';
import type { HandlerAborted } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { HeaderInput } from '../nats/port.ts';

/** What all runs of a pipeline share. */
export interface RunOwner {
  readonly name: string;
  readonly log: Logger;
  readonly inject: (() => HeaderInput) | undefined;
  /** Subject prefix of delayed messages, for pipelines that have some. */
  readonly delayedSubject: string | undefined;
}

/** One message waiting to be published when the handler has succeeded. */
export interface BufferedEmit {
  readonly subject: string;
  readonly id: string;
  /** As the handler gave it, for the test harness. */
  readonly data: unknown;
  /** As it will be published: encoded at once, so that a later change of the value changes nothing. */
  readonly body: Uint8Array | string;
  readonly headers: HeaderInput | undefined;
  readonly at: Date | undefined;
}

/**
 * One call of a handler: a message, or a batch of them. What the handler gets of it is `context`.
 *
 * - `running`: the handler has not returned.
 * - `aborting`: told to stop; what it returns within the grace counts as a failure.
 * - `hung`: it did not return within the grace. Its messages are settled without it, its slot stays taken.
 * - `ended`: it returned.
 */
export class Run<T, D> {
  readonly context: Context<D>;
  readonly deliveries: readonly [Delivery<T>, ...Delivery<T>[]];
  readonly deps: D;
  readonly startedAt: number;
  phase: 'running' | 'aborting' | 'hung' | 'ended' = 'running';
  abortedAt = 0;
  /** When the handler returned, or was given up. */
  endedAt = 0;
  abortReason: HandlerAborted | undefined = undefined;
  emits: BufferedEmit[] | undefined = undefined;
  /** Trace headers of a failed handler's context, for the dead letter. */
  failureHeaders: HeaderInput | undefined = undefined;
  /** Given up on while it was running: its slot is taken until it returns after all. */
  countedAsHung = false;
  readonly #owner: RunOwner;
  #controller: AbortController | undefined = undefined;

  constructor(deliveries: readonly [Delivery<T>, ...Delivery<T>[]], deps: D, startedAt: number, owner: RunOwner) {
    this.deliveries = deliveries;
    this.deps = deps;
    this.startedAt = startedAt;
    this.#owner = owner;
    this.context = new ContextView(this);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.abortReason !== undefined) this.#controller.abort(this.abortReason);
    }
    return this.#controller.signal;
  }

  get fence(): number | undefined {
    return this.deliveries[0].claim?.fence;
  }

  get log(): Logger {
    const [first] = this.deliveries;
    const fields = { pipeline: this.#owner.name, messageId: first.id, attempt: first.attempt };
    const { log } = this.#owner;
    return {
      debug: (more, message) => log.debug({ ...fields, ...more }, message),
      info: (more, message) => log.info({ ...fields, ...more }, message),
      warn: (more, message) => log.warn({ ...fields, ...more }, message),
      error: (more, message) => log.error({ ...fields, ...more }, message),
    };
  }

  emit(subject: string, data: Uint8Array | string | object, options?: EmitOptions): void {
    this.emits ??= [];
    const [first] = this.deliveries;
    const { name, inject, delayedSubject } = this.#owner;
    const at = options?.at;
    if (at !== undefined && delayedSubject === undefined)
      throw new TypeError(`pipeline ${name} emits for later: give its spec \`delayed\``);
    if (at !== undefined && Number.isNaN(at.getTime())) throw new RangeError('emit: `at` is no valid date');
    const body = encodeEmit(data);
    const headers = inject === undefined ? options?.headers : { ...inject(), ...options?.headers };
    this.emits.push({
      subject,
      data,
      body,
      headers,
      at,
      id: options?.id ?? this.#emitId(`${name}:${first.stream}:${first.sequence}:${first.storedAtMs}`, subject, body),
    });
  }

  /**
   * The message's identity, what is emitted, and which of equal emits it is. A redelivery that emits the same again is a
   * duplicate for the stream; one that emits something else is not, at any position.
   */
  #emitId(message: string, subject: string, body: Uint8Array | string): string {
    const content = hash(
      'sha256',
      typeof body === 'string' ? `${subject}\n${body}` : bytesOf(subject, body),
      'base64url',
    );
    const key = `${message}:${content.slice(0, 22)}`;
    const earlier = this.emits?.filter(({ id }) => id === key || id.startsWith(`${key}:`)).length ?? 0;
    return earlier === 0 ? key : `${key}:${earlier}`;
  }

  /** Tells the handler to stop. The first reason stands. */
  abort(reason: HandlerAborted, now: number): void {
    if (this.phase !== 'running') return;
    this.phase = 'aborting';
    this.abortedAt = now;
    this.abortReason = reason;
    this.#controller?.abort(reason);
  }
}

/** Body of an emit: bytes and text as they are, anything else as JSON. */
const encodeEmit = (data: unknown): Uint8Array | string =>
  data instanceof Uint8Array || typeof data === 'string' ? data : (JSON.stringify(data) ?? '');

const bytesOf = (subject: string, body: Uint8Array): Uint8Array => Buffer.concat([Buffer.from(`${subject}\n`), body]);
