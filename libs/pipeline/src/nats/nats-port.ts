import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { PublishError, RequestError } from '../errors.ts';
import type { ConnectionEvent, NatsMessage, NatsPort, NatsSubscription, SendOptions } from './port.ts';
import { createPublisher } from './publisher.ts';
import { hasReadableHeaders } from './readable-headers.ts';
import { writtenHeaders } from './written-headers.ts';

/** The part of a nats.js v3 `NatsConnection` that is used. */
export interface NatsJsConnection {
  publish(subject: string, payload?: Uint8Array | string, options?: ClientOptions): void;
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: NatsMessage) => void },
  ): { unsubscribe(): void; drain(): Promise<void> };
  flush(): Promise<void>;
  status(): AsyncIterable<{ readonly type: string; readonly error?: unknown }>;
  closed(): Promise<void | Error>;
  isClosed(): boolean;
  /** What the connection was made with; nats.js has it and does not declare it. */
  readonly options?: { readonly inboxPrefix?: string };
}

export interface NatsPortOptions {
  /** Prefix of inbox subjects; the connection's own `inboxPrefix` when absent, as permissions may allow no other. */
  readonly inboxPrefix?: string;
  /** `$JS.<domain>.API` to reach a JetStream domain. */
  readonly apiPrefix?: string;
  /** Default wait for a PubAck. */
  readonly publishTimeoutMs?: number;
  readonly clock?: Clock;
  /** Told what a callback given to `subscribe` threw; the connection and the other subscriptions go on. */
  readonly onListenerError?: (subject: string, error: unknown) => void;
}

/** A port that can be closed: `close` ends its subscriptions and timer, not the connection. */
export interface ClosableNatsPort extends NatsPort {
  close(): void;
}

interface ClientOptions {
  reply?: string;
  headers?: never;
}
const DEFAULT_REQUEST_TIMEOUT_MS = 5000;
const FLUSH_TIMEOUT_MS = 5000;
const EMPTY = new Uint8Array(0);

/** Adapts a connection. Make one port per connection and share it between pipelines. */
export function natsPort(connection: NatsJsConnection, options: NatsPortOptions = {}): ClosableNatsPort {
  const clock = options.clock ?? systemClock;
  const inboxPrefix = options.inboxPrefix ?? connection.options?.inboxPrefix ?? '_INBOX';
  const listeners = new Set<(event: ConnectionEvent) => void>();
  let connected = !connection.isClosed();
  let shut = false;

  // The client flushes its buffer in a microtask, so sends from different promise chains would become one socket write
  // each. Collected until the turn ends they are one: half the CPU on both sides.
  const queue: (string | Uint8Array | SendOptions | undefined)[] = [];
  const flushQueue = (): void => {
    // Nothing below can queue more: what the client calls back happens in a later turn.
    for (let at = 0; at < queue.length && !connection.isClosed(); at += 3) {
      const sendOptions = queue[at + 2] as SendOptions | undefined;
      try {
        connection.publish(
          queue[at] as string,
          queue[at + 1] as string | Uint8Array,
          sendOptions === undefined ? undefined : toClient(sendOptions),
        );
      } catch (error) {
        sendOptions?.onRefused?.(error);
      }
    }
    queue.length = 0;
  };
  const toClient = ({ reply, headers }: SendOptions): ClientOptions => {
    const prepared: ClientOptions = {};
    if (reply !== undefined) prepared.reply = reply;
    const written = headers === undefined ? undefined : writtenHeaders(headers);
    // The client calls `encode` and nothing else of them: the cast only hides that it declares more.
    if (written !== undefined) prepared.headers = written as never;
    return prepared;
  };

  const announce = (event: ConnectionEvent): void => {
    for (const listener of listeners) listener(event);
  };

  const port: ClosableNatsPort = {
    apiPrefix: options.apiPrefix ?? '$JS.API',
    get connected() {
      return connected;
    },
    get closed() {
      return connection.isClosed();
    },
    inbox: () => `${inboxPrefix}.${randomToken()}`,
    subscribe(subject, onMessage): NatsSubscription {
      return connection.subscribe(subject, {
        callback: (error, message) => {
          if (error !== null) return;
          try {
            onMessage(message);
          } catch (failure) {
            // Thrown on, it would make the client close the connection, and with it everything else that uses it.
            options.onListenerError?.(subject, failure);
          }
        },
      });
    },
    send(subject, data, sendOptions) {
      queue.push(subject, data, sendOptions);
      if (queue.length === 3) clock.soon(flushQueue);
    },
    publish(subject, data, publishOptions) {
      if (!connected) return Promise.reject(new PublishError('DISCONNECTED', 'not connected to NATS'));
      return publisher.publish(subject, data, publishOptions);
    },
    request(subject, data, requestOptions) {
      return request(port, clock, subject, data, requestOptions?.timeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS);
    },
    hasReadableHeaders,
    flush(timeoutMs = FLUSH_TIMEOUT_MS) {
      return new Promise((resolve, reject) => {
        const timer = clock.after(timeoutMs, () => reject(new RequestError('TIMEOUT', 'no answer to a flush')));
        // Behind everything queued in this turn.
        clock.soon(() => {
          if (connection.isClosed()) {
            timer.cancel();
            reject(new RequestError('CLOSED', 'the connection is closed'));
            return;
          }
          connection
            .flush()
            // What the server refused before it answered reaches `follow` in a later turn.
            .then(() => clock.soon(resolve), reject)
            .finally(() => timer.cancel());
        });
      });
    },
    onConnection(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      shut = true;
      publisher.close();
      listeners.clear();
    },
  };
  const publisher = createPublisher(port, {
    clock,
    ...(options.publishTimeoutMs === undefined ? {} : { timeoutMs: options.publishTimeoutMs }),
  });

  const follow = async (): Promise<void> => {
    for await (const status of connection.status()) {
      if (shut) return;
      if (status.type === 'disconnect') {
        connected = false;
        publisher.fail(new PublishError('DISCONNECTED', 'the connection broke before the PubAck came'));
        announce({ type: 'disconnected' });
      } else if (status.type === 'reconnect') {
        connected = true;
        announce({ type: 'reconnected' });
      } else if (status.type === 'error') {
        const denied = deniedBy(status.error);
        if (denied === undefined) continue;
        if (denied.operation === 'publish') publisher.denied(denied.subject);
        announce({ type: 'denied', ...denied });
      }
    }
  };
  void follow().catch(() => undefined);
  void connection.closed().then((error) => {
    connected = false;
    publisher.fail(new PublishError('CLOSED', 'the connection was closed'));
    announce({ type: 'closed', error: error instanceof Error ? error : undefined });
  });
  return port;
}

/** What a `PermissionViolationError` of the client says, read by its shape: this package imports no client. */
function deniedBy(
  error: unknown,
): { readonly operation: 'publish' | 'subscribe'; readonly subject: string } | undefined {
  if (!(error instanceof Error) || !('operation' in error) || !('subject' in error)) return undefined;
  const { operation, subject } = error;
  if (typeof subject !== 'string' || subject === '') return undefined;
  if (operation === 'publish') return { operation, subject };
  return operation === 'subscription' ? { operation: 'subscribe', subject } : undefined;
}

async function request(
  port: NatsPort,
  clock: Clock,
  subject: string,
  data: Uint8Array | string,
  timeoutMs: number,
): Promise<NatsMessage> {
  if (port.closed) throw new RequestError('CLOSED', 'the connection is closed');
  const reply = port.inbox();
  return await new Promise<NatsMessage>((resolve, reject) => {
    const stopListening = port.onConnection((event) => {
      if (event.type !== 'denied' || event.subject !== subject) return;
      end();
      reject(new RequestError('DENIED', `permission denied to publish to ${subject}`));
    });
    const end = (): void => {
      timer.cancel();
      subscription.unsubscribe();
      stopListening();
    };
    const subscription = port.subscribe(reply, (message) => {
      end();
      if (message.data.length === 0 && message.headers?.code === 503) {
        reject(new RequestError('NO_RESPONDERS', `no responders for ${subject}`));
      } else resolve(message);
    });
    const timer = clock.after(timeoutMs, () => {
      end();
      reject(new RequestError('TIMEOUT', `no answer from ${subject} in ${timeoutMs} ms`));
    });
    port.send(subject, data.length === 0 ? EMPTY : data, { reply });
  });
}

/** 122 random bits, letters and digits only: unique enough for an inbox and cheap. */
const randomToken = (): string => crypto.randomUUID().replaceAll('-', '');
