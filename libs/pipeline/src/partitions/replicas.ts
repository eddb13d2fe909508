import type { Clock } from '../clock.ts';
import type { NatsPort, NatsSubscription } from '../nats/port.ts';

/** How often a replica says that it is there. */
const ANNOUNCE_MS = 1000;
/** A replica that was not heard of for so long is gone. */
const GONE_AFTER_MS = 4000;

/** What a replica says about itself. */
export interface Announcement {
  readonly id: string;
  /** `leaving`: it takes no more partitions and gives up those it has. */
  readonly state: 'here' | 'leaving';
  /** Partitions it reads, or waits to read. */
  readonly reading: readonly number[];
  /** Partitions the server has pinned to it. */
  readonly pinned: readonly number[];
}

interface Seen {
  readonly said: Announcement;
  at: number;
}

export interface ReplicasDeps {
  readonly port: NatsPort;
  readonly clock: Clock;
  /** Names what the replicas share. */
  readonly stream: string;
  readonly consumer: string;
  readonly describe: () => Pick<Announcement, 'reading' | 'pinned'>;
  /** The list of replicas changed, or what one of them says. */
  readonly changed: () => void;
}

const decoder = new TextDecoder();

/**
 * The replicas that read a partitioned source, by what they say about themselves over core NATS. It is a hint for a fair
 * share: that a partition has one reader is the server's doing. Where the subject may not be used,
 * every replica believes itself alone, and the first to pull a partition keeps it.
 */
export class Replicas {
  readonly id: string = crypto.randomUUID();
  readonly #deps: ReplicasDeps;
  readonly #subject: string;
  readonly #seen = new Map<string, Seen>();
  readonly #subscription: NatsSubscription;
  #state: 'absent' | 'here' | 'leaving' = 'absent';
  #announcedAt = Number.NEGATIVE_INFINITY;
  #tickedAt: number;
  #queued = false;

  constructor(deps: ReplicasDeps) {
    this.#deps = deps;
    this.#subject = `_pipeline.replicas.${deps.stream}.${deps.consumer}`;
    this.#tickedAt = deps.clock.now();
    this.#subscription = deps.port.subscribe(this.#subject, ({ data }) => this.#heard(data));
  }

  /** Ids of the replicas that take partitions, this one included when it does. */
  get members(): readonly string[] {
    const others = [...this.#seen.values()].filter(({ said }) => said.state === 'here').map(({ said }) => said.id);
    return (this.#state === 'here' ? [...others, this.id] : others).toSorted();
  }

  /** What the others say. */
  get others(): readonly Announcement[] {
    return [...this.#seen.values()].map(({ said }) => said);
  }

  /** Whether another replica said within a time that a partition is pinned to it, and not otherwise since. */
  isPinnedElsewhere(partition: number, withinMs: number): boolean {
    const from = this.#deps.clock.now() - withinMs;
    for (const { said, at } of this.#seen.values()) if (at > from && said.pinned.includes(partition)) return true;
    return false;
  }

  join(): void {
    this.#say('here');
  }

  leave(): void {
    if (this.#state !== 'absent') this.#say('leaving');
  }

  /** Says again what is said once a second, at once: what it says changed. */
  announce(): void {
    if (this.#state === 'absent' || this.#queued) return;
    this.#queued = true;
    this.#deps.clock.soon(() => {
      this.#queued = false;
      this.#send();
    });
  }

  tick(): void {
    const { clock, port, changed } = this.#deps;
    const now = clock.now();
    const late = now - this.#tickedAt > ANNOUNCE_MS;
    this.#tickedAt = now;
    // Not heard of because this process did not run, or was not connected: that says nothing about them.
    if (late || !port.connected) for (const seen of this.#seen.values()) seen.at = now;
    let gone = false;
    for (const [id, { at }] of this.#seen) if (now - at > GONE_AFTER_MS) gone = this.#seen.delete(id) || gone;
    if (this.#state !== 'absent' && now - this.#announcedAt >= ANNOUNCE_MS) this.#send();
    if (gone) changed();
  }

  /** Says good-bye, so that no replica waits for it. */
  close(): void {
    if (this.#state !== 'absent') {
      this.#state = 'leaving';
      this.#send({ reading: [], pinned: [] });
    }
    this.#state = 'absent';
    this.#subscription.unsubscribe();
  }

  #say(state: 'here' | 'leaving'): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#send();
    this.#deps.changed();
  }

  #send(what = this.#deps.describe()): void {
    const { port, clock } = this.#deps;
    if (this.#state === 'absent' || !port.connected) return;
    this.#announcedAt = clock.now();
    const said: Announcement = { id: this.id, state: this.#state, ...what };
    port.send(this.#subject, JSON.stringify(said));
  }

  #heard(data: Uint8Array): void {
    const said = parse(data);
    if (said === undefined || said.id === this.id) return;
    const known = this.#seen.get(said.id);
    const isGone = said.state === 'leaving' && said.reading.length === 0 && said.pinned.length === 0;
    if (isGone) this.#seen.delete(said.id);
    else this.#seen.set(said.id, { said, at: this.#deps.clock.now() });
    // A newcomer does not know who is here: it need not wait a second to hear it.
    if (known === undefined && !isGone) this.announce();
    if (known === undefined ? !isGone : isGone || known.said.state !== said.state) this.#deps.changed();
  }
}

/** Undefined for anything that is no announcement: the subject is open to everyone. */
function parse(data: Uint8Array): Announcement | undefined {
  try {
    const { id, state, reading, pinned } = JSON.parse(decoder.decode(data)) as Record<string, unknown>;
    if (typeof id !== 'string' || (state !== 'here' && state !== 'leaving')) return undefined;
    return { id, state, reading: numbersOf(reading), pinned: numbersOf(pinned) };
  } catch {
    return undefined;
  }
}

const numbersOf = (value: unknown): readonly number[] =>
  Array.isArray(value) ? value.filter((one): one is number => typeof one === 'number') : [];
