/**
 * The engine's view of NATS. It imports no client: `@sluice/pipeline/nats` adapts a nats.js connection to this
 * interface, and a test adapts memory to it.
 */

/** Header lookup of an incoming message. Structurally the `MsgHdrs` of nats.js. */
export interface NatsHeaders {
  /** Status of a message the server itself sent (100 heartbeat, 404, 408, 409, 503); 0 on ordinary messages. */
  readonly code: number;
  /** The text that goes with {@link code}, e.g. `Consumer Deleted`. */
  readonly description: string;
  /** Names with their values; where it is, it costs less than `keys` and `values`. */
  [Symbol.iterator]?(): Iterator<[string, string[]]>;
  get(name: string): string;
  has(name: string): boolean;
  keys(): string[];
  values(name: string): string[];
}

/** An incoming message. Structurally the `Msg` of nats.js, so adapting costs nothing per message. */
export interface NatsMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly reply?: string;
  readonly headers?: NatsHeaders;
}

/** Headers to send: one value per name, or several. */
export type HeaderInput = Readonly<Record<string, string | readonly string[]>>;

/** The server's confirmation that a message is stored. */
export interface PubAck {
  readonly stream: string;
  readonly sequence: number;
  /** True when the stream already held this message id and stored nothing. */
  readonly duplicate: boolean;
}

export interface PublishOptions {
  /** `Nats-Msg-Id`: a repeat inside the stream's duplicate window stores nothing. */
  readonly id?: string;
  readonly headers?: HeaderInput;
  /** Compare-and-set: the stream's last sequence on this subject must be this (0 = none yet). */
  readonly expectLastSubjectSequence?: number;
  /** How long to wait for the PubAck. */
  readonly timeoutMs?: number;
}

export interface SendOptions {
  readonly reply?: string;
  readonly headers?: HeaderInput;
  /** The client would not take it, e.g. because it is larger than the server's max_payload. */
  readonly onRefused?: (error: unknown) => void;
}

export interface NatsSubscription {
  /** Stops at once; what is on the wire is dropped. */
  unsubscribe(): void;
  /** Stops after everything the server already sent has been handed over. */
  drain(): Promise<void>;
}

/** What happens to the connection. `closed` is final: nothing reopens it. A denial is announced before a flush after it ends. */
export type ConnectionEvent =
  /** The server refused a publish or a subscription for want of permission. Acks are publishes. */
  | { readonly type: 'denied'; readonly operation: 'publish' | 'subscribe'; readonly subject: string }
  | { readonly type: 'disconnected' }
  | { readonly type: 'reconnected' }
  | { readonly type: 'closed'; readonly error: Error | undefined };

export interface NatsPort {
  /** Prefix of the JetStream API, `$JS.API` unless a domain is used. */
  readonly apiPrefix: string;
  /** False between `disconnected` and `reconnected`, and after `closed`. */
  readonly connected: boolean;
  readonly closed: boolean;
  /** A fresh inbox subject that no other subscriber has. */
  inbox(): string;
  /** Throws when the connection is closed. */
  subscribe(subject: string, onMessage: (message: NatsMessage) => void): NatsSubscription;
  /**
   * Core publish, at most once. Everything sent in one turn of the event loop leaves in one socket write. While
   * disconnected the message is dropped silently: callers that care hold it back themselves.
   */
  send(subject: string, data: Uint8Array | string, options?: SendOptions): void;
  /**
   * Publish into a stream and wait for the server's confirmation. Rejects with a {@link PublishError}; the code
   * `TIMEOUT` means the outcome is unknown, so repeat it with the same id.
   */
  publish(subject: string, data: Uint8Array | string, options?: PublishOptions): Promise<PubAck>;
  /** Request and reply. Rejects with a {@link RequestError}. */
  request(subject: string, data: Uint8Array | string, options?: { timeoutMs?: number }): Promise<NatsMessage>;
  /**
   * Whether the headers of a message can be read, found out without parsing them; false when that is not certain. A port
   * without it has them parsed to find out.
   */
  hasReadableHeaders?(message: NatsMessage): boolean;
  /** Resolves when the server has read everything sent before. Rejects when that takes too long or the link breaks. */
  flush(timeoutMs?: number): Promise<void>;
  /** Calls back on every connection event until the returned function is called. */
  onConnection(listener: (event: ConnectionEvent) => void): () => void;
}
