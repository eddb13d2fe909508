import type { Clock, Timer } from '../clock.ts';
import type { ConsumerConfig, ConsumerInfo } from '../nats/jetstream-api.ts';
import type { MemoryStream } from './stream.ts';
import { matches } from '../nats/subject.ts';
import { receivedHeaders } from './router.ts';
import type { Router } from './router.ts';

interface Pending {
  deliveries: number;
  /** When it is due again; undefined while it waits in the redelivery queue. */
  dueAt: number | undefined;
}
interface Pull {
  readonly inbox: string;
  left: number;
  /** The pin it was sent with, or the one that was given to it. */
  pin: string | undefined;
  readonly expiresAt: number;
  readonly heartbeatMs: number;
  spokeAt: number;
}

interface PullRequest {
  readonly batch?: number;
  readonly expires?: number;
  readonly idle_heartbeat?: number;
  readonly group?: string;
  readonly id?: string;
  readonly no_wait?: boolean;
  readonly max_bytes?: number;
}

let made = 0;
let pins = 0;
const DEFAULT_PIN_TTL_NS = 120_000 * 1_000_000;
const NS = 1_000_000;
const DEFAULT_ACK_WAIT_NS = 30_000 * NS;
const TICK_MS = 10;
const EMPTY = new Uint8Array(0);
const decoder = new TextDecoder();

/** A durable pull consumer: pulls in, deliveries and status lines out, acks back in. */
export class MemoryConsumer {
  config: ConsumerConfig;
  readonly name: string;
  readonly #stream: MemoryStream;
  readonly #router: Router;
  readonly #clock: Clock;
  readonly #onExhausted: (sequence: number, deliveries: number) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #exhausted = new Set<number>();
  #redeliver: number[] = [];
  #pulls: Pull[] = [];
  #next: number;
  #deliverySequence = 0;
  #pin: string | undefined;
  #pinEndsAt = 0;
  readonly #created: string;
  readonly #ticker: Timer;

  constructor(
    name: string,
    config: ConsumerConfig & { readonly opt_start_seq?: number },
    stream: MemoryStream,
    router: Router,
    clock: Clock,
    onExhausted: (sequence: number, deliveries: number) => void,
  ) {
    this.name = name;
    this.config = config;
    this.#stream = stream;
    this.#router = router;
    this.#clock = clock;
    // As precise as the server's, so that one made again in the same millisecond is another one.
    this.#created = new Date(clock.wall()).toISOString().replace('Z', `${String(++made).padStart(6, '0')}Z`);
    this.#onExhausted = onExhausted;
    this.#next = config.opt_start_seq ?? 1;
    this.#ticker = clock.every(TICK_MS, () => this.#tick());
  }

  get ackPending(): number {
    return this.#pending.size;
  }

  info(): ConsumerInfo {
    const floor = Math.min(this.#next, ...this.#pending.keys()) - 1;
    return {
      name: this.name,
      created: this.#created,
      config: this.config,
      num_pending: this.#waiting(),
      num_ack_pending: this.#pending.size,
      ack_floor: { stream_seq: floor },
      delivered: { stream_seq: this.#next - 1, consumer_seq: this.#deliverySequence },
      priority_groups: (this.config.priority_groups ?? []).map((group) => ({
        group,
        ...(this.#pin === undefined ? {} : { pinned_client_id: this.#pin }),
      })),
    };
  }

  pull(request: PullRequest, inbox: string): void {
    const now = this.#clock.now();
    const { id } = request;
    const refuse = (code: number, description: string): void => {
      this.#router.deliver(inbox, { subject: inbox, data: EMPTY, headers: receivedHeaders({}, code, description) });
    };
    if (this.#isPinning && this.config.priority_groups?.includes(request.group ?? '') !== true) {
      refuse(400, 'Bad Request - Priority Group missing');
      return;
    }
    if (this.#pin !== undefined && id !== undefined) {
      if (id !== this.#pin) {
        refuse(423, 'Nats-Pin-Id mismatch');
        return;
      }
      this.#keepPin();
    }
    if (request.no_wait === true) {
      // Enough of it for a pull that can take no message: it is answered with a status.
      if (this.#waiting() + this.#redeliver.length === 0) refuse(404, 'No Messages');
      else if (id !== undefined && this.#pin === undefined) refuse(423, 'Nats-Wrong-Pin-Id');
      else refuse(409, 'Message Size Exceeds MaxBytes');
      return;
    }
    this.#pulls.push({
      inbox,
      left: request.batch ?? 1,
      pin: id,
      expiresAt: now + (request.expires ?? 0) / NS,
      heartbeatMs: (request.idle_heartbeat ?? 0) / NS,
      spokeAt: now,
    });
    this.serve();
  }

  /** Takes an answer to a delivery: `+ACK`, `-NAK {"delay":ns}`, `+WPI`, `+TERM`. */
  settle(sequence: number, body: Uint8Array): void {
    const pending = this.#pending.get(sequence);
    const word = decoder.decode(body);
    if (word.startsWith('+WPI')) {
      if (pending !== undefined && pending.dueAt !== undefined) pending.dueAt = this.#clock.now() + this.#ackWaitMs;
      return;
    }
    if (word.startsWith('-NAK')) {
      if (pending === undefined) return;
      const delayNs = word.length > 5 ? (JSON.parse(word.slice(5)) as { delay?: number }).delay : undefined;
      pending.dueAt = this.#clock.now() + (delayNs ?? 0) / NS;
      this.#tick();
      return;
    }
    this.#pending.delete(sequence);
    this.#exhausted.delete(sequence);
    this.#redeliver = this.#redeliver.filter((one) => one !== sequence);
    if (this.#stream.config.retention === 'workqueue') this.#stream.messages.delete(sequence);
    this.serve();
  }

  /** Hands out what there is to the open pulls. */
  serve(): void {
    for (;;) {
      this.#pulls = this.#pulls.filter(({ inbox }) => this.#router.hasInterest(inbox));
      const pull = this.#nextPull();
      if (pull === undefined) return;
      const sequence = this.#take();
      if (sequence === undefined) return;
      if (this.#isPinning && this.#pin === undefined) {
        this.#pin = `pin${++pins}`;
        pull.pin = this.#pin;
        this.#keepPin();
      }
      this.#deliver(sequence, pull);
      if (pull.left === 0) this.#pulls = this.#pulls.filter((one) => one !== pull);
    }
  }

  /** Takes the pin away: the next pull without one gets it. */
  unpin(): void {
    this.#pin = undefined;
    this.serve();
  }

  /** The pull to answer next: of a consumer that is pinned, one of the client it is pinned to. */
  #nextPull(): Pull | undefined {
    if (!this.#isPinning) return this.#pulls[0];
    for (const pull of this.#pulls) {
      if (pull.pin === undefined ? this.#pin === undefined : pull.pin === this.#pin) return pull;
    }
    return undefined;
  }

  get #isPinning(): boolean {
    return this.config.priority_policy === 'pinned_client';
  }

  #keepPin(): void {
    this.#pinEndsAt = this.#clock.now() + (this.config.priority_timeout ?? DEFAULT_PIN_TTL_NS) / NS;
  }

  /** Open pulls are forgotten without a word, as by a leader that dies. */
  forgetPulls(): void {
    this.#pulls = [];
  }

  /** The consumer is gone: open pulls hear of it. */
  close(): void {
    this.#ticker.cancel();
    for (const pull of this.#pulls) this.#say(pull, 409, 'Consumer Deleted');
    this.#pulls = [];
  }

  get #ackWaitMs(): number {
    return (this.config.ack_wait ?? DEFAULT_ACK_WAIT_NS) / NS;
  }

  #waiting(): number {
    let count = 0;
    for (const sequence of this.#stream.messages.keys()) if (sequence >= this.#next && this.#wants(sequence)) count++;
    return count;
  }

  #wants(sequence: number): boolean {
    const { filter_subject: filter = '' } = this.config;
    const { subject } = this.#stream.messages.get(sequence) ?? { subject: '' };
    return filter === '' || filter === subject || matches(filter.split('.'), subject.split('.'));
  }

  #take(): number | undefined {
    for (;;) {
      const again = this.#redeliver.shift();
      if (again === undefined) break;
      if (this.#stream.messages.has(again)) return again;
      this.#pending.delete(again);
    }
    const most = this.config.max_ack_pending ?? 1000;
    if (most > 0 && this.#pending.size >= most) return undefined;
    for (; this.#next <= this.#stream.lastSequence; this.#next++) {
      if (!this.#stream.messages.has(this.#next) || !this.#wants(this.#next)) continue;
      return this.#next++;
    }
    return undefined;
  }

  #deliver(sequence: number, pull: Pull): void {
    const message = this.#stream.messages.get(sequence);
    if (message === undefined) return;
    const now = this.#clock.now();
    const pending = this.#pending.get(sequence) ?? { deliveries: 0, dueAt: 0 };
    pending.deliveries++;
    pending.dueAt = now + this.#ackWaitMs;
    this.#pending.set(sequence, pending);
    pull.left--;
    pull.spokeAt = now;
    const { name } = this.#stream.config;
    const pin = this.#pin;
    const place = `${pending.deliveries}.${sequence}.${++this.#deliverySequence}.${message.storedAtMs}000000`;
    this.#router.deliver(pull.inbox, {
      subject: message.subject,
      data: message.data,
      reply: `$JS.ACK.${name}.${this.name}.${place}.${this.#waiting()}`,
      // As the client has it: parsed when it is read, and then it may throw.
      get headers() {
        return receivedHeaders(pin === undefined ? message.headers : { ...message.headers, 'Nats-Pin-Id': pin });
      },
    });
  }

  #tick(): void {
    const now = this.#clock.now();
    if (this.#pin !== undefined && now >= this.#pinEndsAt) this.#pin = undefined;
    // What was asked with a pin that is gone is refused as soon as there is something to answer it with.
    if (this.#isPinning && this.#waiting() + this.#redeliver.length > 0) {
      this.#pulls = this.#pulls.filter((pull) => {
        if (pull.pin === undefined || pull.pin === this.#pin) return true;
        this.#say(pull, 423, 'Nats-Wrong-Pin-Id');
        return false;
      });
    }
    const most = this.config.max_deliver ?? -1;
    for (const [sequence, pending] of this.#pending) {
      if (pending.dueAt === undefined || pending.dueAt > now) continue;
      if (most > 0 && pending.deliveries >= most) {
        // It stays in the stream and is never delivered again; only an advisory says so.
        this.#pending.delete(sequence);
        this.#exhausted.add(sequence);
        this.#onExhausted(sequence, pending.deliveries);
        continue;
      }
      pending.dueAt = undefined;
      this.#redeliver.push(sequence);
    }
    this.#pulls = this.#pulls.filter((pull) => {
      if (pull.expiresAt <= now) {
        this.#say(pull, 408, 'Request Timeout');
        return false;
      }
      if (pull.heartbeatMs > 0 && now - pull.spokeAt >= pull.heartbeatMs) {
        pull.spokeAt = now;
        this.#say(pull, 100, 'Idle Heartbeat');
      }
      return true;
    });
    this.serve();
  }

  #say(pull: Pull, code: number, description: string): void {
    const counts = code === 100 ? {} : { 'Nats-Pending-Messages': String(pull.left) };
    this.#router.deliver(pull.inbox, {
      subject: pull.inbox,
      data: EMPTY,
      headers: receivedHeaders(counts, code, description),
    });
  }
}
