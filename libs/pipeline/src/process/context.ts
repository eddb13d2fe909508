import type { HeaderInput } from '../nats/port.ts';
import type { Logger } from '../log.ts';

/** What a handler gets besides its message. */
export interface Context<D> {
  readonly deps: D;
  /** Logs with the pipeline, message id and attempt attached. */
  readonly log: Logger;
  /**
   * Aborted when the handler's time is up, its claim was taken over or a drain is forced; `signal.reason` says which.
   * Made on first use: a handler that never asks pays nothing.
   */
  readonly signal: AbortSignal;
  /** With idempotency: a number that grows with every new holder of the key. Hand it to stores that can refuse older ones. */
  readonly fence: number | undefined;
  /**
   * Publishes into a stream if and only if the handler succeeds: buffered, then stored (PubAck) before the message is
   * acknowledged. A redelivery emits the same ids again, so the stream's duplicate window folds the repeats.
   */
  emit(subject: string, data: Uint8Array | string | object, options?: EmitOptions): void;
}

export interface EmitOptions {
  /**
   * Message id. By default made of the pipeline, the message and what is emitted: a redelivery that emits the same is a
   * duplicate, one that emits something else is not. Give an id when the content holds a time or a random value.
   */
  readonly id?: string;
  readonly headers?: HeaderInput;
  /**
   * Not before this time: the message waits in the server (2.12), in the stream of the spec's `delayed`, and
   * `delayedMessages` publishes it. A time in the past means as soon as possible.
   */
  readonly at?: Date;
}
