/**
 * `@sluice/pipeline/memory`: enough of JetStream in one process to run a pipeline against, with a clock that can be
 * moved by hand. For tests of timing and of rare failures; what a broker really does is tested on a broker.
 */
import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { PublishError, RequestError } from '../errors.ts';
import type { ConsumerConfig } from '../nats/jetstream-api.ts';
import type { ConnectionEvent, HeaderInput, NatsPort } from '../nats/port.ts';
import { createPublisher } from '../nats/publisher.ts';
import { MemoryConsumer } from './consumer.ts';
import { matches } from '../nats/subject.ts';
import { receivedHeaders, Router } from './router.ts';
import type { Listener } from './router.ts';
import { MemoryStream } from './stream.ts';
import type { MemoryMessage, MemoryStreamConfig } from './stream.ts';

export type { MemoryMessage, MemoryStreamConfig } from './stream.ts';

/** A port whose connection the test breaks and restores. */
export interface MemoryPort extends NatsPort {
  /** The connection breaks: what is sent from now on is lost, subscriptions are gone. */
  disconnect(): void;
  reconnect(): void;
  /** The connection ends for good. */
  close(): void;
  /** While true nothing passes and neither side notices: a half-open link. What is sent meanwhile arrives when it is over. */
  partitioned: boolean;
  /** Subjects this connection may not publish to: what is sent there is refused, and the refusal is announced. */
  denied: ((subject: string) => boolean) | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const EMPTY = new Uint8Array(0);
const API = '$JS.API';

/** Streams, consumers and any number of connections, in memory. */
export class MemoryJetStream {
  readonly #clock: Clock;
  readonly #router: Router;
  readonly #streams = new Map<string, MemoryStream>();
  readonly #consumers = new Map<string, MemoryConsumer>();
  #inboxes = 0;
  /** Subjects whose publishes get no answer, as if the PubAck was lost. */
  readonly swallow = new Set<string>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    this.#router = new Router(clock);
  }

  addStream(config: MemoryStreamConfig): void {
    this.#streams.set(config.name, new MemoryStream(config, this.#clock, () => this.#wake()));
  }

  deleteStream(name: string): void {
    this.#streams.delete(name);
    for (const key of this.#consumers.keys())
      if (key.startsWith(`${name}/`)) this.deleteConsumer(name, key.slice(name.length + 1));
  }

  addConsumer(stream: string, name: string, config: ConsumerConfig = {}): void {
    const target = this.#streams.get(stream);
    if (target === undefined) throw new RangeError(`no stream ${stream}`);
    const exhausted = (sequence: number, deliveries: number): void =>
      this.#accept(
        `$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${stream}.${name}`,
        encoder.encode(JSON.stringify({ stream, consumer: name, stream_seq: sequence, deliveries })),
        {},
        undefined,
      );
    const complete = { ack_policy: 'explicit', ...config };
    this.#consumers.get(`${stream}/${name}`)?.close();
    this.#consumers.set(
      `${stream}/${name}`,
      new MemoryConsumer(name, complete, target, this.#router, this.#clock, exhausted),
    );
  }

  /** Changes a consumer as an operator would, under the running pipeline. */
  updateConsumer(stream: string, name: string, change: ConsumerConfig): void {
    const consumer = this.#consumers.get(`${stream}/${name}`);
    if (consumer !== undefined) consumer.config = { ...consumer.config, ...change };
  }

  /** The consumer loses its open pulls without a word to its clients, as when its leader dies in a cluster. */
  forgetPulls(stream: string, name: string): void {
    this.#consumers.get(`${stream}/${name}`)?.forgetPulls();
  }

  deleteConsumer(stream: string, name: string): void {
    this.#consumers.get(`${stream}/${name}`)?.close();
    this.#consumers.delete(`${stream}/${name}`);
  }

  /** Stores a message as a publisher would; returns its sequence. */
  store(subject: string, body: Uint8Array | string, headers: HeaderInput = {}): number {
    const stream = [...this.#streams.values()].find((one) => one.takes(subject));
    const stored = stream?.store(subject, typeof body === 'string' ? encoder.encode(body) : body, headers);
    if (stored === undefined || 'errCode' in stored)
      throw new RangeError(stored?.description ?? `no stream takes ${subject}`);
    this.#wake();
    return stored.sequence;
  }

  messages(stream: string): readonly MemoryMessage[] {
    return [...(this.#streams.get(stream)?.messages.values() ?? [])];
  }

  ackPending(stream: string, consumer: string): number {
    return this.#consumers.get(`${stream}/${consumer}`)?.ackPending ?? 0;
  }

  /** A new connection. */
  connect(): MemoryPort {
    const clock = this.#clock;
    const listeners = new Set<(event: ConnectionEvent) => void>();
    const mine = new Set<Listener>();
    let state: 'up' | 'down' | 'closed' = 'up';
    const announce = (event: ConnectionEvent): void => {
      for (const listener of listeners) listener(event);
    };
    /** What waits on a partitioned link, in both directions: TCP delays bytes, it does not lose them while it lives. */
    let stuck: (() => void)[] = [];
    let partitioned = false;
    const pass = (move: () => void): void => {
      if (state !== 'up') return;
      if (partitioned) stuck.push(move);
      else move();
    };
    const drop = (): void => {
      for (const listener of mine) this.#router.unlisten(listener);
    };
    const port: MemoryPort = {
      apiPrefix: API,
      get partitioned() {
        return partitioned;
      },
      set partitioned(on) {
        partitioned = on;
        if (on) return;
        const moves = stuck;
        stuck = [];
        for (const move of moves) pass(move);
      },
      get connected() {
        return state === 'up';
      },
      get closed() {
        return state === 'closed';
      },
      denied: undefined,
      inbox: () => `_INBOX.${++this.#inboxes}`,
      subscribe: (subject, onMessage) => {
        const listener = this.#router.listen(subject, (message) => {
          pass(() => {
            if (mine.has(listener)) onMessage(message);
          });
        });
        mine.add(listener);
        const unsubscribe = (): void => {
          mine.delete(listener);
          this.#router.unlisten(listener);
        };
        return {
          unsubscribe,
          drain: () =>
            new Promise((resolve) => {
              clock.soon(() => {
                unsubscribe();
                resolve();
              });
            }),
        };
      },
      send: (subject, data, options) => {
        if (state !== 'up') return;
        const body = typeof data === 'string' ? encoder.encode(data) : data;
        clock.soon(() => {
          if (port.denied?.(subject) === true) {
            pass(() => announce({ type: 'denied', operation: 'publish', subject }));
            return;
          }
          pass(() => this.#accept(subject, body, options?.headers ?? {}, options?.reply));
        });
      },
      publish: (subject, data, options) => {
        if (state !== 'up') return Promise.reject(new PublishError('DISCONNECTED', 'not connected'));
        return publisher.publish(subject, data, options);
      },
      request: (subject, data, options) =>
        new Promise((resolve, reject) => {
          const reply = port.inbox();
          const subscription = port.subscribe(reply, (message) => {
            timer.cancel();
            subscription.unsubscribe();
            if (message.headers?.code === 503)
              reject(new RequestError('NO_RESPONDERS', `no responders for ${subject}`));
            else resolve(message);
          });
          const timer = clock.after(options?.timeoutMs ?? 5000, () => {
            subscription.unsubscribe();
            reject(new RequestError('TIMEOUT', `no answer from ${subject}`));
          });
          port.send(subject, data, { reply });
        }),
      flush: (timeoutMs = 5000) =>
        new Promise((resolve, reject) => {
          if (state === 'closed') reject(new RequestError('CLOSED', 'closed'));
          else {
            const timer = clock.after(timeoutMs, () => reject(new RequestError('TIMEOUT', 'no answer')));
            const answered = (): void => {
              timer.cancel();
              resolve();
            };
            // There and back: on a partitioned link the answer comes after what the server sent before it.
            clock.soon(() => pass(() => clock.soon(() => pass(answered))));
          }
        }),
      onConnection: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      disconnect: () => {
        if (state !== 'up') return;
        state = 'down';
        stuck = [];
        publisher.fail(new PublishError('DISCONNECTED', 'the connection broke'));
        announce({ type: 'disconnected' });
      },
      reconnect: () => {
        if (state !== 'down') return;
        state = 'up';
        announce({ type: 'reconnected' });
      },
      close: () => {
        if (state === 'closed') return;
        state = 'closed';
        drop();
        publisher.close();
        announce({ type: 'closed', error: undefined });
      },
    };
    const publisher = createPublisher(port, { clock });
    return port;
  }

  /** A message that arrived at the server. */
  #accept(subject: string, data: Uint8Array, headers: HeaderInput, reply: string | undefined): void {
    if (subject.startsWith('$JS.ACK.')) this.#ack(subject, data, reply);
    else if (subject.startsWith(`${API}.`)) this.#api(subject.slice(API.length + 1), data, reply);
    else {
      const stream = [...this.#streams.values()].find((one) => one.takes(subject));
      this.#router.deliver(subject, {
        subject,
        data,
        headers: receivedHeaders(headers),
        ...(reply === undefined ? {} : { reply }),
      });
      if (stream === undefined) {
        if (!this.#router.hasInterest(subject)) this.#noResponders(reply);
        return;
      }
      if (this.swallow.has(subject)) return;
      const stored = stream.store(subject, data, headers);
      const answer =
        'errCode' in stored
          ? { error: { code: stored.code, err_code: stored.errCode, description: stored.description } }
          : { stream: stream.config.name, seq: stored.sequence, duplicate: stored.duplicate };
      this.#answer(reply, answer);
      this.#wake();
    }
  }

  #ack(subject: string, data: Uint8Array, reply: string | undefined): void {
    const [, , stream, consumer, , sequence] = subject.split('.');
    this.#consumers.get(`${stream ?? ''}/${consumer ?? ''}`)?.settle(Number(sequence), data);
    if (reply !== undefined) this.#router.deliver(reply, { subject: reply, data: EMPTY });
  }

  #api(path: string, data: Uint8Array, reply: string | undefined): void {
    const body = data.length === 0 ? {} : (JSON.parse(decoder.decode(data)) as Record<string, unknown>);
    const [area = '', verb = '', ...rest] = path.split('.');
    const name = `${area}.${verb}`;
    if (name === 'CONSUMER.MSG') {
      const consumer = this.#consumers.get(`${rest[1] ?? ''}/${rest[2] ?? ''}`);
      if (consumer === undefined) this.#noResponders(reply);
      else consumer.pull(body, reply ?? '');
      return;
    }
    this.#answer(reply, this.#manage(name, rest, body));
  }

  #manage(name: string, rest: readonly string[], body: Readonly<Record<string, unknown>>): object {
    // `STREAM.MSG.GET.<stream>` carries one word more than the others.
    const [first = '', second = ''] = name === 'STREAM.MSG' ? rest.slice(1) : rest;
    const stream = this.#streams.get(first);
    const consumer = this.#consumers.get(`${first}/${second}`);
    if (name === 'INFO.') return { api: { level: 2 } };
    if (name === 'STREAM.NAMES') {
      const tokens = String(body['subject']).split('.');
      const streams = [...this.#streams.values()].filter(({ config }) =>
        config.subjects.some((subject) => matches(subject.split('.'), tokens)),
      );
      return { streams: streams.map(({ config }) => config.name) };
    }
    if (stream === undefined) return { error: { code: 404, err_code: 10_059, description: 'stream not found' } };
    if (name === 'STREAM.INFO') {
      const sequences = [...stream.messages.keys()];
      const state = {
        messages: sequences.length,
        first_seq: sequences[0] ?? stream.lastSequence + 1,
        last_seq: stream.lastSequence,
      };
      return {
        config: {
          name: first,
          subjects: stream.config.subjects,
          retention: stream.config.retention ?? 'limits',
          max_age: (stream.config.maxAgeMs ?? 0) * 1_000_000,
          allow_msg_schedules: stream.config.schedules === true,
          ...(stream.config.transform === undefined ? {} : { subject_transform: stream.config.transform }),
        },
        state,
      };
    }
    if (name === 'STREAM.MSG') {
      const message = this.messages(first).findLast((one) =>
        body['last_by_subj'] === undefined ? one.sequence === body['seq'] : one.subject === body['last_by_subj'],
      );
      return message === undefined
        ? { error: { code: 404, err_code: 10_037, description: 'no message found' } }
        : { message: stored(message) };
    }
    if (consumer === undefined) return { error: { code: 404, err_code: 10_014, description: 'consumer not found' } };
    if (name === 'CONSUMER.UNPIN') {
      consumer.unpin();
      return {};
    }
    return consumer.info();
  }

  #answer(reply: string | undefined, body: object): void {
    if (reply !== undefined)
      this.#router.deliver(reply, { subject: reply, data: encoder.encode(JSON.stringify(body)) });
  }

  #noResponders(reply: string | undefined): void {
    if (reply !== undefined)
      this.#router.deliver(reply, { subject: reply, data: EMPTY, headers: receivedHeaders({}, 503) });
  }

  #wake(): void {
    for (const consumer of this.#consumers.values()) consumer.serve();
  }
}

const stored = (message: MemoryMessage): object => ({
  subject: message.subject,
  seq: message.sequence,
  time: new Date(message.storedAtMs).toISOString(),
  data: Buffer.from(message.data).toString('base64'),
});
