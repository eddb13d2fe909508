import type { ResolvedSource } from '../config/resolve-spec.ts';
import type { NatsMessage } from '../nats/port.ts';
import type { Puller } from '../pull/puller.ts';
import type { SourceHealth } from '../pull/source-health.ts';
import type { PartitionShare } from '../running.ts';
import { assign } from './assignment.ts';
import { KeepAlive } from './keep-alive.ts';
import { Partition } from './partition.ts';
import type { Participation, PartitionDeps } from './partition.ts';
import { Replicas } from './replicas.ts';

export interface PartitionsDeps<T, D> extends PartitionDeps<T, D> {
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
}

/** The partitions of one source of the spec, and the replicas that share them. */
interface Group<T, D> {
  readonly stream: string;
  readonly consumer: string;
  readonly partitions: readonly Partition<T, D>[];
  readonly replicas: Replicas;
  /** By partition: when a replica was last known to read it. */
  readonly readAt: number[];
}

/** A newcomer hears of the others before it takes what they have. */
const JOIN_WAIT_MS = 250;
/** A partition that no replica reads for so long is worth a word. */
const UNREAD_MS = 15_000;

/**
 * Order per key across replicas: each partition of a stream has a consumer, and each consumer one reader.
 *
 * The server pins a consumer to the first replica that pulls from it, and gives it to another when that one is silent for
 * `priority_timeout`. Which replica asks for which partition follows from who is there (`Replicas`, `assign`); what a
 * replica does with one is in `Partition`.
 */
export class Partitions<T, D> {
  readonly #deps: PartitionsDeps<T, D>;
  readonly #partitions = new Map<number, Partition<T, D>>();
  readonly #groups: readonly Group<T, D>[];
  readonly #keepAlive: KeepAlive;
  #state: Participation = 'away';

  constructor(deps: PartitionsDeps<T, D>) {
    this.#deps = deps;
    const { port, clock, spec } = deps;
    this.#keepAlive = new KeepAlive(port, clock, (index, pin, sentAt, isPinned) => {
      if (isPinned) this.#partitions.get(index)?.pin.renewed(pin, sentAt);
      else this.refused(index, pin);
    });
    this.#keepAlive.open();
    const bySource = new Map<number, { readonly index: number; readonly source: ResolvedSource }[]>();
    for (const [index, source] of spec.sources.entries()) {
      if (source.partition === undefined) continue;
      const list = bySource.get(source.declared) ?? [];
      list.push({ index, source });
      bySource.set(source.declared, list);
    }
    this.#groups = [...bySource.values()].map((members) => this.#makeGroup(members));
  }

  // --- who reads what ------------------------------------------------------------------------------------------------

  /** Takes part: says so, and takes its share of the partitions shortly after. */
  join(): void {
    if (this.#state !== 'away') return;
    this.#state = 'joining';
    const { clock } = this.#deps;
    for (const { replicas, readAt } of this.#groups) {
      readAt.fill(clock.now());
      replicas.join();
    }
    clock.after(JOIN_WAIT_MS, () => {
      if (this.#state !== 'joining') return;
      this.#state = 'here';
      this.#share();
    });
  }

  /** Takes no more: the others may take over what is given up from now on. */
  leave(): void {
    if (this.#state === 'closed' || this.#state === 'away') return;
    this.#state = 'away';
    for (const partition of this.#partitions.values()) partition.want(false);
    for (const { replicas } of this.#groups) replicas.leave();
  }

  /** Gives up every pin. Everything held must be settled or sent back by now. */
  async release(): Promise<void> {
    await Promise.all([...this.#partitions.values()].map((partition) => partition.release()));
    for (const { replicas } of this.#groups) replicas.announce();
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#keepAlive.close();
    for (const { replicas } of this.#groups) replicas.close();
  }

  // --- what the engine asks and tells --------------------------------------------------------------------------------

  /** Whether more of the source may be asked for. */
  mayPull(index: number): boolean {
    return this.#partitions.get(index)?.mayPull ?? true;
  }

  /** Whether what is held of the source is still this replica's to settle. */
  holds(index: number): boolean {
    return this.#partitions.get(index)?.holds() ?? true;
  }

  /** A message arrived: to be started, to be kept until its partition is taken over, or of a pin that is lost. */
  received(index: number, raw: NatsMessage, sentAt: number): 'take' | 'keep' | 'drop' {
    return this.#partitions.get(index)?.received(raw, sentAt) ?? 'take';
  }

  /** The server refused a pull for its pin. */
  refused(index: number, pin: string): void {
    this.#partitions.get(index)?.refused(pin);
  }

  /** The connection is new: answers to the old one do not come any more. */
  reconnected(): void {
    this.#keepAlive.open();
    for (const partition of this.#partitions.values()) partition.holds();
    for (const { replicas } of this.#groups) replicas.announce();
  }

  /** Called often. */
  tick(): void {
    if (this.#state === 'closed') return;
    for (const { replicas } of this.#groups) replicas.tick();
    for (const partition of this.#partitions.values()) partition.look();
    this.#noteReaders();
  }

  /** Whether this replica reads the source: what waits in another's partition is that one's concern. */
  reads(index: number): boolean {
    const partition = this.#partitions.get(index);
    return partition === undefined || partition.wanted || partition.pin.id !== undefined;
  }

  /** Partitions that this replica reads. */
  get heldCount(): number {
    return this.shares().reduce((sum, { held }) => sum + held.length, 0);
  }

  shares(): readonly PartitionShare[] {
    const now = this.#deps.clock.now();
    return this.#groups.map(({ stream, consumer, partitions, replicas, readAt }) => {
      const elsewhere = new Set(replicas.others.flatMap(({ pinned }) => pinned));
      const held = partitions.filter(
        (one) => one.pin.id !== undefined || (this.#isReading(one) && !elsewhere.has(one.name.number)),
      );
      return {
        stream,
        consumer,
        count: partitions.length,
        held: numbersOf(held),
        unread: numbersOf(partitions).filter((number) => now - (readAt[number] ?? now) > UNREAD_MS),
        replicas: replicas.members.length,
      };
    });
  }

  // --- the share of this replica -------------------------------------------------------------------------------------

  #makeGroup(members: readonly { readonly index: number; readonly source: ResolvedSource }[]): Group<T, D> {
    const { clock, port, spec, pullers } = this.#deps;
    const partitions = members.map(({ index, source }) => {
      const { stream, consumer, partition } = source;
      const name = { index, number: partition?.number ?? 0, stream, consumer };
      return new Partition<T, D>(name, this.#deps, {
        keepAlive: this.#keepAlive,
        puller: pullers[index],
        state: () => this.#state,
        changed: () => replicas.announce(),
        isPinnedElsewhere: (withinMs) => replicas.isPinnedElsewhere(name.number, withinMs),
      });
    });
    for (const partition of partitions) this.#partitions.set(partition.name.index, partition);
    const { stream, partition } = spec.sources[members[0]?.index ?? 0] as ResolvedSource;
    const consumer = partition?.consumer ?? '';
    const replicas = new Replicas({
      port,
      clock,
      stream,
      consumer,
      describe: () => ({
        reading: numbersOf(partitions.filter((one) => this.#isReading(one))),
        pinned: numbersOf(partitions.filter(({ pin }) => pin.id !== undefined)),
      }),
      changed: () => this.#share(),
    });
    return { stream, consumer, partitions, replicas, readAt: partitions.map(() => clock.now()) };
  }

  #isReading({ wanted, name }: Partition<T, D>): boolean {
    return wanted && this.#deps.port.connected && this.#deps.sources[name.index]?.trouble === undefined;
  }

  #share(): void {
    if (this.#state !== 'here') return;
    for (const { partitions, replicas } of this.#groups) {
      const assigned = assign(partitions.length, replicas.members);
      for (const partition of partitions) partition.want(assigned.get(partition.name.number) === replicas.id);
      replicas.announce();
    }
    this.#deps.requestSoon();
  }

  #noteReaders(): void {
    const now = this.#deps.clock.now();
    for (const { partitions, replicas, readAt } of this.#groups) {
      const here = partitions.filter((one) => one.pin.id !== undefined || this.#isReading(one));
      for (const number of numbersOf(here)) readAt[number] = now;
      for (const { reading, pinned } of replicas.others) {
        for (const number of [...reading, ...pinned]) if (number < readAt.length) readAt[number] = now;
      }
    }
  }
}

const numbersOf = <T, D>(partitions: readonly Partition<T, D>[]): number[] => partitions.map(({ name }) => name.number);
