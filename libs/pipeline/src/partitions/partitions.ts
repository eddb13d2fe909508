import type { Clock } from '../clock.ts';
import type { ResolvedSource, ResolvedSpec } from '../config/resolve-spec.ts';
import { HandlerAborted } from '../errors.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import { consumerInfo, unpin } from '../nats/jetstream-api.ts';
import type { NatsMessage, NatsPort } from '../nats/port.ts';
import type { Delivery } from '../process/delivery.ts';
import { errorMessage } from '../process/describe-error.ts';
import type { LiveConsumers } from '../pull/live-consumers.ts';
import type { Puller } from '../pull/puller.ts';
import type { PartitionShare } from '../running.ts';
import type { SourceHealth } from '../pull/source-health.ts';
import type { InFlight } from '../schedule/in-flight.ts';
import type { Settlements } from '../settle/settlements.ts';
import { assign } from './assignment.ts';
import { KeepAlive } from './keep-alive.ts';
import { sendBack } from './outstanding.ts';
import { Pin } from './pin.ts';
import { Replicas } from './replicas.ts';

export interface PartitionsDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly inFlight: InFlight<T, D>;
  readonly settlements: Settlements;
  readonly live: LiveConsumers<T, D>;
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
  /** Ask for what has room. */
  readonly requestSoon: () => void;
  /** Messages of a partition that was taken over may start, in this order. */
  readonly startKept: (deliveries: readonly Delivery<T>[]) => void;
  /** Sends back what has not started of a source. */
  readonly releaseWaitingOf: (source: number) => void;
}

/** One partition, as this replica sees it. */
interface Partition {
  readonly index: number;
  readonly number: number;
  readonly stream: string;
  readonly consumer: string;
  readonly pin: Pin;
  /** It is this replica's turn to read it. */
  wanted: boolean;
  handingOver: boolean;
  /** When to look for messages that no replica holds. */
  lookAt: number;
}

/** The partitions of one source of the spec, and the replicas that share them. */
interface Group {
  readonly stream: string;
  readonly consumer: string;
  readonly partitions: readonly Partition[];
  readonly replicas: Replicas;
  /** By partition: when a replica was last known to read it. */
  readonly readAt: number[];
}

/** A newcomer hears of the others before it takes what they have. */
const JOIN_WAIT_MS = 250;
const STEP_MS = 25;
const FLUSH_TIMEOUT_MS = 2000;
const LOOK_OFTEN_MS = 1000;
const LOOK_RARELY_MS = 10_000;
/** A partition that no replica reads for so long is worth a word. */
const UNREAD_MS = 15_000;

/**
 * Order per key across replicas: each partition of a stream has a consumer, and each consumer one reader.
 *
 * The server pins a consumer to the first replica that pulls from it, and gives it to another when that one is silent for
 * `priority_timeout`. Which replica asks for which partition follows from who is there (`Replicas`, `assign`). A partition
 * is, for this replica,
 *
 * - not wanted: not pulled from.
 * - wanted, without a pin: pulled from; the pulls wait at the server while another replica is pinned.
 * - taking over: pinned by the first message. Nothing is started until every message that the last holder left unsettled
 *   is here: one of them may be of the same key, and older.
 * - held: as any source.
 * - handing over: no longer wanted. What has not started goes back, what runs ends, and then the pin is given up.
 *
 * A pin that is lost, by a refusal of the server or because its time ran out unrenewed, takes everything of the partition
 * with it: handlers are told to stop and nothing of theirs is settled here.
 */
export class Partitions<T, D> {
  readonly #deps: PartitionsDeps<T, D>;
  readonly #partitions = new Map<number, Partition>();
  readonly #groups: readonly Group[];
  readonly #keepAlive: KeepAlive;
  #state: 'joining' | 'here' | 'away' | 'closed' = 'away';

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
    for (const partition of this.#partitions.values()) partition.wanted = false;
    for (const { replicas } of this.#groups) replicas.leave();
  }

  /** Gives up every pin. Everything held must be settled or sent back by now. */
  async release(): Promise<void> {
    await Promise.all([...this.#partitions.values()].map((partition) => this.#unpin(partition)));
    for (const { replicas } of this.#groups) replicas.announce();
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#keepAlive.close();
    for (const { replicas } of this.#groups) replicas.close();
  }

  // --- what the engine asks ------------------------------------------------------------------------------------------

  /** Whether more of the source may be asked for. */
  mayPull(index: number): boolean {
    const partition = this.#partitions.get(index);
    if (partition === undefined) return true;
    if (!partition.wanted || partition.pin.takingOver || partition.handingOver) return false;
    // A pull without a pin waits at the server until the partition is free; more of them would only wait longer.
    return partition.pin.id !== undefined || this.#deps.pullers[index]?.requested === 0;
  }

  /** Whether what is held of the source is still this replica's to settle. */
  holds(index: number): boolean {
    const partition = this.#partitions.get(index);
    if (partition === undefined) return true;
    if (partition.pin.hasLapsed) this.#lost(partition, 'its pin was not renewed in time');
    return partition.pin.id !== undefined;
  }

  /** A message arrived: to be started, to be kept until the partition is taken over, or of a pin that is lost. */
  received(index: number, raw: NatsMessage, sentAt: number): 'take' | 'keep' | 'drop' {
    const partition = this.#partitions.get(index);
    if (partition === undefined) return 'take';
    const id = pinIdOf(raw);
    this.holds(index);
    const { pin } = partition;
    if (id === undefined && pin.id === undefined) {
      // Its headers cannot be read. The server knows the pin as well; the message is sent back when it is known.
      this.#beside(this.#findPin(partition, sentAt));
      return 'drop';
    }
    if (id === undefined) return pin.takingOver ? 'keep' : 'take';
    if (pin.wasLost(id)) return 'drop';
    if (pin.id !== undefined && pin.id !== id) this.#lost(partition, 'the server gave it a new pin');
    if (pin.id === undefined) this.#take(partition, id, sentAt);
    return pin.takingOver ? 'keep' : 'take';
  }

  /** The server refused a pull for its pin. */
  refused(index: number, pin: string): void {
    const partition = this.#partitions.get(index);
    if (partition !== undefined && partition.pin.id === pin)
      this.#lost(partition, 'the server has given it to another');
  }

  /** The connection is new: answers to the old one do not come any more. */
  reconnected(): void {
    this.#keepAlive.open();
    for (const index of this.#partitions.keys()) this.holds(index);
    for (const { replicas } of this.#groups) replicas.announce();
  }

  /** Called often. */
  tick(): void {
    if (this.#state === 'closed') return;
    for (const { replicas } of this.#groups) replicas.tick();
    for (const partition of this.#partitions.values()) this.#look(partition);
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
        (one) => one.pin.id !== undefined || (this.#isReading(one) && !elsewhere.has(one.number)),
      );
      return {
        stream,
        consumer,
        count: partitions.length,
        held: held.map(({ number }) => number),
        unread: partitions
          .filter(({ number }) => now - (readAt[number] ?? now) > UNREAD_MS)
          .map(({ number }) => number),
        replicas: replicas.members.length,
      };
    });
  }

  // --- one partition -------------------------------------------------------------------------------------------------

  #makeGroup(members: readonly { readonly index: number; readonly source: ResolvedSource }[]): Group {
    const { clock, port, spec } = this.#deps;
    const partitions = members.map(({ index, source }): Partition => ({
      index,
      number: source.partition?.number ?? 0,
      stream: source.stream,
      consumer: source.consumer,
      pin: new Pin(clock),
      wanted: false,
      handingOver: false,
      lookAt: 0,
    }));
    for (const partition of partitions) this.#partitions.set(partition.index, partition);
    const { stream, partition } = spec.sources[members[0]?.index ?? 0] as ResolvedSource;
    const consumer = partition?.consumer ?? '';
    const replicas = new Replicas({
      port,
      clock,
      stream,
      consumer,
      describe: () => ({
        reading: partitions.filter((one) => this.#isReading(one)).map(({ number }) => number),
        pinned: partitions.filter(({ pin }) => pin.id !== undefined).map(({ number }) => number),
      }),
      changed: () => this.#share(),
    });
    return { stream, consumer, partitions, replicas, readAt: partitions.map(() => clock.now()) };
  }

  #isReading({ wanted, index }: Partition): boolean {
    return wanted && this.#deps.port.connected && this.#deps.sources[index]?.trouble === undefined;
  }

  #share(): void {
    if (this.#state !== 'here') return;
    for (const { partitions, replicas } of this.#groups) {
      const assigned = assign(partitions.length, replicas.members);
      for (const partition of partitions) {
        const wanted = assigned.get(partition.number) === replicas.id;
        if (wanted && !partition.wanted) partition.lookAt = 0;
        partition.wanted = wanted;
      }
      replicas.announce();
    }
    this.#deps.requestSoon();
  }

  #look(partition: Partition): void {
    const { clock, port } = this.#deps;
    const { index, pin, stream, consumer } = partition;
    if (!this.holds(index)) {
      if (!partition.wanted || !port.connected || clock.now() < partition.lookAt) return;
      partition.lookAt = clock.now() + LOOK_OFTEN_MS;
      this.#beside(this.#lookForOutstanding(partition));
      return;
    }
    if (pin.id !== undefined && port.connected) {
      this.#keepAlive.renew(index, pin.id, pin.ttlMs, { stream, name: consumer });
    }
    if (!partition.wanted && this.#state === 'here' && !partition.handingOver) this.#beside(this.#handOver(partition));
  }

  #noteReaders(): void {
    const now = this.#deps.clock.now();
    for (const { partitions, replicas, readAt } of this.#groups) {
      for (const one of partitions) if (one.pin.id !== undefined || this.#isReading(one)) readAt[one.number] = now;
      for (const { reading, pinned } of replicas.others) {
        for (const number of [...reading, ...pinned]) if (number < readAt.length) readAt[number] = now;
      }
    }
  }

  #take(partition: Partition, id: string, sentAt: number): void {
    const { live, pullers } = this.#deps;
    const { index, pin } = partition;
    pin.take(id, sentAt, live.at(index)?.pinTtlMs ?? 0);
    const puller = pullers[index];
    if (puller !== undefined) puller.pinId = id;
    this.#keepAlive.hurry(index);
    void this.#takeOver(partition, id).catch((error: unknown) => this.#lost(partition, errorMessage(error)));
  }

  async #findPin(partition: Partition, sentAt: number): Promise<void> {
    const info = await this.#info(partition);
    const id = info?.priority_groups?.[0]?.pinned_client_id ?? '';
    if (id !== '' && partition.pin.id === undefined && !partition.pin.wasLost(id)) this.#take(partition, id, sentAt);
  }

  /** Waits until every message that was delivered and not settled is here, then starts them in the order of the stream. */
  async #takeOver(partition: Partition, id: string): Promise<void> {
    const { inFlight, pullers, startKept, clock } = this.#deps;
    const { index, pin } = partition;
    let askAgainAt = 0;
    while (this.#state !== 'closed' && pin.id === id) {
      if (this.#state === 'away') {
        // What is here goes back, and more would not be sent back again.
        await this.#sleep(STEP_MS);
        continue;
      }
      const before = inFlight.buffer.heldOf(index);
      const info = await this.#info(partition);
      if (pin.id !== id) return;
      // What arrived meanwhile may be in the count or not: counted as not, it is looked at once more.
      const outstanding = (info?.num_ack_pending ?? Number.POSITIVE_INFINITY) - before;
      if (outstanding <= 0) break;
      if (info !== undefined && clock.now() >= askAgainAt) {
        askAgainAt = clock.now() + LOOK_OFTEN_MS;
        this.#sendBack(partition, info);
      }
      const puller = pullers[index];
      if (info !== undefined && puller !== undefined && puller.requested < outstanding) puller.request(outstanding);
      await this.#sleep(info === undefined ? LOOK_OFTEN_MS : STEP_MS);
    }
    if (this.#state === 'closed' || pin.id !== id) return;
    pin.takenOver();
    const kept = [...inFlight.takingOver].filter(({ source }) => source === index);
    for (const delivery of kept) inFlight.takingOver.delete(delivery);
    this.#tell(partition, { type: 'partition.taken', messages: kept.length });
    startKept(kept.toSorted((a, b) => a.sequence - b.sequence));
  }

  /** Gives a partition to the replica whose turn it is, when nothing of it runs here any more. */
  async #handOver(partition: Partition): Promise<void> {
    const { pullers, inFlight, releaseWaitingOf, settlements } = this.#deps;
    const { index, pin } = partition;
    const { id } = pin;
    partition.handingOver = true;
    const goesOn = (): boolean => pin.id === id && !partition.wanted && this.#state === 'here';
    try {
      await pullers[index]?.idle();
      while (goesOn() && (pin.takingOver || inFlight.buffer.heldOf(index) > 0)) {
        if (!pin.takingOver) releaseWaitingOf(index);
        await this.#sleep(STEP_MS);
      }
      if (!goesOn()) return;
      await settlements.flush(FLUSH_TIMEOUT_MS);
      if (goesOn()) await this.#unpin(partition);
    } finally {
      partition.handingOver = false;
      this.#groupOf(partition)?.replicas.announce();
      this.#deps.requestSoon();
    }
  }

  async #unpin(partition: Partition): Promise<void> {
    const { port, log, spec, pullers } = this.#deps;
    const { index, pin, stream, consumer } = partition;
    if (!this.holds(index)) return;
    pin.drop();
    const puller = pullers[index];
    if (puller !== undefined) {
      puller.pinId = undefined;
      puller.lag = 0;
    }
    this.#tell(partition, { type: 'partition.released' });
    try {
      await unpin(port, stream, consumer);
    } catch (error) {
      const fields = { pipeline: spec.name, stream, consumer, error: errorMessage(error) };
      log.warn(fields, 'the pin could not be given up: the next replica waits until it ends by itself');
    }
  }

  #lost(partition: Partition, reason: string): void {
    const { inFlight, settlements, pullers, clock } = this.#deps;
    const { index, pin, stream, consumer } = partition;
    pin.drop();
    const puller = pullers[index];
    if (puller !== undefined) {
      puller.pinId = undefined;
      puller.lag = 0;
      puller.forgetPulls();
    }
    settlements.forget(index, `$JS.ACK.${stream}.${consumer}.`);
    const held = [...inFlight.buffer.held()].filter(({ source }) => source === index);
    const error = new HandlerAborted(
      'PARTITION_LOST',
      `partition ${partition.number} is another replica's now: ${reason}`,
    );
    for (const run of inFlight.runs) if (run.deliveries[0].source === index) run.abort(error, clock.now());
    for (const delivery of held) inFlight.outdate(delivery);
    this.#tell(partition, { type: 'partition.lost', reason, messages: held.length });
    this.#groupOf(partition)?.replicas.announce();
    this.#deps.requestSoon();
  }

  /** A replica that died may have left messages behind while nothing new comes: they would wait for ack_wait. */
  async #lookForOutstanding(partition: Partition): Promise<void> {
    const info = await this.#info(partition);
    if (info === undefined || partition.pin.id !== undefined) return;
    const isPinned = info.priority_groups?.some(({ pinned_client_id: id = '' }) => id !== '') === true;
    if (info.num_ack_pending === 0 && !isPinned) partition.lookAt = this.#deps.clock.now() + LOOK_RARELY_MS;
    else if (!isPinned) this.#sendBack(partition, info);
  }

  #sendBack(partition: Partition, info: Awaited<ReturnType<typeof consumerInfo>>): void {
    const { port, log, clock, inFlight, spec } = this.#deps;
    const { index, stream, consumer } = partition;
    const isHeld = (sequence: number): boolean => inFlight.buffer.find(index, sequence) !== undefined;
    if (sendBack(port, { stream, consumer, info, isHeld, wallMs: clock.wall() })) return;
    const fields = { pipeline: spec.name, stream, consumer };
    log.warn(
      fields,
      'what the last reader of the partition held lies too far apart to be sent back: ack_wait brings it',
    );
  }

  /** For what goes on beside the caller. */
  #beside(work: Promise<void>): void {
    work.catch((error: unknown) => {
      const { log, spec } = this.#deps;
      log.error({ pipeline: spec.name, error: errorMessage(error) }, 'a step of sharing partitions failed');
    });
  }

  async #info({ stream, consumer }: Partition): Promise<Awaited<ReturnType<typeof consumerInfo>> | undefined> {
    const { port, log, spec } = this.#deps;
    try {
      return await consumerInfo(port, stream, consumer);
    } catch (error) {
      const fields = { pipeline: spec.name, stream, consumer, error: errorMessage(error) };
      log.debug(fields, 'the consumer of a partition did not answer: it is asked again');
      return undefined;
    }
  }

  #groupOf(partition: Partition): Group | undefined {
    return this.#groups.find(({ partitions }) => partitions.includes(partition));
  }

  #tell(
    { stream, consumer, number }: Partition,
    event:
      | { type: 'partition.taken'; messages: number }
      | { type: 'partition.released' }
      | { type: 'partition.lost'; reason: string; messages: number },
  ): void {
    const { observe, log, spec } = this.#deps;
    observe?.({ pipeline: spec.name, stream, consumer, partition: number, ...event });
    const line = { pipeline: spec.name, stream, consumer, partition: number, ...event };
    if (event.type === 'partition.lost') log.warn(line, 'partition lost');
    else log.info(line, 'partition');
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#deps.clock.after(ms, resolve);
    });
  }
}

/** Undefined when the headers cannot be read. */
function pinIdOf(raw: NatsMessage): string | undefined {
  try {
    const id = raw.headers?.get('Nats-Pin-Id') ?? '';
    return id === '' ? undefined : id;
  } catch {
    return undefined;
  }
}
