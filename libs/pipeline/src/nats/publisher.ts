import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { PublishError } from '../errors.ts';
import type { HeaderInput, NatsMessage, NatsSubscription, PubAck, PublishOptions, SendOptions } from './port.ts';

/** What the publisher needs of a connection. */
export interface PublisherLink {
  inbox(): string;
  subscribe(subject: string, onMessage: (message: NatsMessage) => void): NatsSubscription;
  send(subject: string, data: Uint8Array | string, options?: SendOptions): void;
}

export interface Publisher {
  /** See `NatsPort.publish`. */
  publish(subject: string, data: Uint8Array | string, options?: PublishOptions): Promise<PubAck>;
  /** The server does not let this connection publish to the subject: nothing sent there will be confirmed. */
  denied(subject: string): void;
  /** Rejects everything that still waits for its PubAck: the answers can no longer arrive. */
  fail(error: PublishError): void;
  /** PubAcks outstanding. */
  readonly pending: number;
  close(): void;
}

interface Waiting {
  readonly subject: string;
  readonly deadline: number;
  readonly resolve: (ack: PubAck) => void;
  readonly reject: (error: PublishError) => void;
}

const DEFAULT_TIMEOUT_MS = 5000;
const decoder = new TextDecoder();

/**
 * A JetStream publisher on one wildcard inbox. The client's own `js.publish` makes a request per message: a timer, a
 * subscription entry and two error objects with captured stacks. Here a publish is one map entry, and one timer removes
 * all deadlines.
 */
export function createPublisher(link: PublisherLink, options: { timeoutMs?: number; clock?: Clock } = {}): Publisher {
  const clock = options.clock ?? systemClock;
  const defaultTimeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const inbox = link.inbox();
  const waiting = new Map<string, Waiting>();
  let token = 0;
  let closed = false;

  const subscription = link.subscribe(`${inbox}.*`, (message) => {
    const key = message.subject.slice(inbox.length + 1);
    const entry = waiting.get(key);
    if (entry === undefined) return;
    waiting.delete(key);
    settle(entry, message);
  });
  const expiry = clock.every(Math.max(10, Math.min(250, defaultTimeoutMs / 4)), () => {
    if (waiting.size === 0) return;
    const now = clock.now();
    for (const [key, entry] of waiting) {
      if (entry.deadline > now) continue;
      waiting.delete(key);
      entry.reject(new PublishError('TIMEOUT', 'no PubAck in time; the message may or may not be stored'));
    }
  });

  return {
    get pending() {
      return waiting.size;
    },
    publish(subject, data, publishOptions = {}) {
      return new Promise((resolve, reject) => {
        if (closed) {
          reject(new PublishError('CLOSED', 'the publisher is closed'));
          return;
        }
        const key = (token++).toString(36);
        const headers = withControl(publishOptions);
        const deadline = clock.now() + (publishOptions.timeoutMs ?? defaultTimeoutMs);
        waiting.set(key, { subject, deadline, resolve, reject });
        link.send(subject, data, {
          reply: `${inbox}.${key}`,
          onRefused: (error) => {
            waiting.delete(key);
            const reason = error instanceof Error ? error.message : String(error);
            reject(new PublishError('REFUSED', reason, undefined, { cause: error }));
          },
          ...(headers === undefined ? {} : { headers }),
        });
      });
    },
    denied(subject) {
      for (const [key, entry] of waiting) {
        if (entry.subject !== subject) continue;
        waiting.delete(key);
        entry.reject(new PublishError('DENIED', `permission denied to publish to ${subject}`));
      }
    },
    fail(error) {
      const entries = [...waiting.values()];
      waiting.clear();
      for (const entry of entries) entry.reject(error);
    },
    close() {
      closed = true;
      expiry.cancel();
      subscription.unsubscribe();
      this.fail(new PublishError('CLOSED', 'the publisher was closed before the PubAck came'));
    },
  };
}

function withControl({ id, headers, expectLastSubjectSequence }: PublishOptions): HeaderInput | undefined {
  if (id === undefined && expectLastSubjectSequence === undefined) return headers;
  return {
    ...headers,
    ...(id === undefined ? {} : { 'Nats-Msg-Id': id }),
    ...(expectLastSubjectSequence === undefined
      ? {}
      : { 'Nats-Expected-Last-Subject-Sequence': String(expectLastSubjectSequence) }),
  };
}

interface PubAckReply {
  readonly stream?: string;
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description: string };
}

function settle(entry: Waiting, message: NatsMessage): void {
  if (message.data.length === 0) {
    entry.reject(new PublishError('NO_STREAM', 'no stream takes this subject (or JetStream is unavailable)'));
    return;
  }
  let reply: PubAckReply;
  try {
    reply = JSON.parse(decoder.decode(message.data)) as PubAckReply;
  } catch (error) {
    entry.reject(new PublishError('REJECTED', 'the answer is not a PubAck', undefined, { cause: error }));
    return;
  }
  if (reply.error !== undefined) {
    entry.reject(new PublishError('REJECTED', reply.error.description, reply.error.err_code, { stream: reply.stream }));
  } else if (reply.stream === undefined || reply.seq === undefined) {
    entry.reject(new PublishError('REJECTED', 'the answer comes from a subscriber that is not JetStream'));
  } else {
    entry.resolve({ stream: reply.stream, sequence: reply.seq, duplicate: reply.duplicate === true });
  }
}
