import type { Attempts } from '../attempts/attempts.ts';
import type { Breaker } from './breaker.ts';
import type { Clock } from '../clock.ts';
import { Delivery, parseAckSubject, storedAtMs } from '../process/delivery.ts';
import type { DeliveryMeta, DeliverySource } from '../process/delivery.ts';
import type { Demand } from '../pull/demand.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { NatsMessage } from '../nats/port.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Processor } from '../process/processor.ts';
import type { Puller } from '../pull/puller.ts';
import { declaredConsumer } from '../config/resolve-spec.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Partitions } from '../partitions/partitions.ts';
import { keyReader } from '../partitions/subject-transform.ts';
import type { Settlements } from '../settle/settlements.ts';
import type { Excess, Limiter } from '../limits/limiter.ts';
import type { InFlight } from './in-flight.ts';

/** Messages that wait behind another of their key do not use up the room of other keys, up to this many per slot. */
const KEY_ROOM_PER_SLOT = 3;
/** With all slots taken, so many messages by slot are looked at ahead for the turns of keys. */
const AHEAD_PER_SLOT = 2;
const NONE: readonly number[] = [];

export interface SchedulerDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly inFlight: InFlight<T, D>;
  readonly processor: Processor<T, D>;
  readonly settlements: Settlements;
  readonly attempts: Attempts<T, D>;
  readonly demand: Demand;
  readonly prefetch: Prefetch | undefined;
  readonly breaker: Breaker | undefined;
  readonly limiter: Limiter<T> | undefined;
  /** Keeps a message here that is to wait. */
  readonly wait: (delivery: Delivery<T>, delayMs: number) => void;
  /** Sends a message back because of a limit. */
  readonly defer: (excess: Excess<T>) => void;
  /** Whether new work may be taken and started now. */
  readonly open: () => boolean;
  /** Whether a drain or a pause has begun: a message that was just admitted goes back to the buffer. */
  readonly closing: () => boolean;
  readonly usable: (source: number) => boolean;
  /** The stream was made again and has another message at the sequence of this one. */
  readonly outdated: (delivery: Delivery<T>) => void;
  readonly partitions: Partitions<T, D> | undefined;
  /** Which life of the source's consumer this is, as far as is known. */
  readonly epoch: (source: number) => number;
}

/** From the wire to a handler: takes messages in, starts those that may start, and asks for as many as have room. */
export class Scheduler<T, D> {
  readonly #deps: SchedulerDeps<T, D>;
  readonly #origins: readonly DeliverySource[];
  /** Overwritten for every message: what is needed of it goes into the delivery at once. */
  readonly #meta: DeliveryMeta = { deliveries: 0, sequence: 0, pending: 0 };
  /** The sources that have slots of their own. */
  readonly #reserves: readonly number[];
  /** By source: what orders its messages when the spec does not say it. */
  readonly #keyReaders: readonly (((published: string) => string) | undefined)[];
  #starting = false;
  #requesting = false;

  constructor(deps: SchedulerDeps<T, D>) {
    this.#deps = deps;
    const { spec } = deps;
    this.#origins = spec.sources.map((source, index) => ({
      index,
      stream: source.stream,
      consumer: declaredConsumer(source),
      partition: source.partition?.number,
      maxAttempts: spec.retry.maxAttempts,
      ackPrefix: `$JS.ACK.${source.stream}.${source.consumer}.`,
    }));
    this.#keyReaders = spec.sources.map(({ partition }) =>
      partition === undefined ? undefined : keyReader(partition.by),
    );
    this.#reserves = spec.sources.flatMap(({ reserve }, index) => (reserve > 0 ? [index] : []));
  }

  /** A message arrived. */
  receive(source: number, raw: NatsMessage, puller: Puller): void {
    const { spec, clock, log, observe, inFlight, settlements, attempts, limiter } = this.#deps;
    const from = this.#origins[source];
    const reply = raw.reply ?? '';
    const meta = this.#meta;
    if (from === undefined || !parseAckSubject(reply, meta, from.ackPrefix)) {
      log.warn({ pipeline: spec.name, subject: raw.subject }, 'not a JetStream delivery, ignored');
      return;
    }
    puller.lag = meta.pending;
    const taken = this.#deps.partitions?.received(source, raw, puller.answeredSentAt) ?? 'take';
    // Of a pin that is lost: the replica that has the partition now gets it.
    if (taken === 'drop') return;
    // Before any ack of this turn is queued: then the next pull leaves in the same socket write.
    this.requestSoon();
    const running = inFlight.buffer.find(source, meta.sequence);
    if (running !== undefined && running.storedAtMs !== storedAtMs(reply)) this.#deps.outdated(running);
    else if (running !== undefined) {
      // ack_wait ran out on the server. One settlement, on the newest delivery, covers both.
      running.reply = reply;
      running.deliveries = Math.max(running.deliveries, meta.deliveries);
      running.heartbeatAt = clock.now();
      observe?.({ type: 'message.alreadyHeld', pipeline: spec.name, message: running.message });
      return;
    }
    const delivery = new Delivery<T>(raw, reply, meta, from, clock.now());
    delivery.epoch = this.#deps.epoch(source);
    if (meta.deliveries > 1 && settlements.ackedHere(source, meta.sequence, storedAtMs(reply))) {
      void settlements.ack(delivery);
      observe?.({ type: 'message.alreadyHeld', pipeline: spec.name, message: delivery.message });
      return;
    }
    attempts.arrived(delivery);
    if (taken === 'keep') {
      inFlight.buffer.keep(delivery);
      inFlight.takingOver.add(delivery);
      observe?.({ type: 'message.received', pipeline: spec.name, message: delivery.message });
      return;
    }
    limiter?.deferrals.arrived(source, meta.sequence);
    this.#findKeys(delivery);
    try {
      this.#add(delivery);
    } catch (error) {
      // Kept in part it would get heartbeats for ever and never start: forgotten, ack_wait brings it back.
      inFlight.buffer.remove(delivery);
      throw error;
    }
    observe?.({ type: 'message.received', pipeline: spec.name, message: delivery.message });
    this.startReady();
  }

  #add(delivery: Delivery<T>): void {
    const { inFlight, clock, wait } = this.#deps;
    const restMs = inFlight.takeRestOfWait(delivery, clock.now());
    if (restMs === undefined) inFlight.buffer.add(delivery);
    else if (inFlight.buffer.enter(delivery)) wait(delivery, restMs);
  }

  /** What was kept while a partition was taken over may start, in this order. */
  startKept(deliveries: readonly Delivery<T>[]): void {
    const { processor } = this.#deps;
    for (const delivery of deliveries) {
      try {
        this.#findKeys(delivery);
        this.#add(delivery);
      } catch (error) {
        processor.fault(delivery, error);
      }
    }
    this.advance();
  }

  /** Starts what may start and asks for what has room. */
  advance(): void {
    this.startBatches();
    this.startReady();
    this.request();
  }

  /** A slot is free: start what is here, ask for what is not. */
  slotFreed(): void {
    this.startBatches();
    this.startReady();
    this.requestSoon();
    this.#deps.inFlight.wakeIdle();
  }

  startReady(): void {
    const { inFlight, demand, processor, open, partitions, limiter } = this.#deps;
    if (this.#starting || !open()) return;
    this.#starting = true;
    // Batches take their slots when they close, not while they fill.
    while (inFlight.buffer.ready > 0) {
      const free = inFlight.batcher !== undefined || inFlight.slots < this.#slots;
      if (!free && !this.#reserves.some(this.#mayUseReserve)) break;
      // A token of the rate must not be taken for a message that a limit keeps from starting.
      if (limiter !== undefined && demand.hasRate && !inFlight.buffer.canTake(free ? undefined : this.#mayUseReserve))
        break;
      if (!demand.mayStart()) break;
      const delivery = free ? inFlight.buffer.take() : inFlight.buffer.take(this.#mayUseReserve);
      if (delivery === undefined) break;
      if (partitions?.holds(delivery.source) === false || delivery.phase === 'settled') {
        limiter?.release(delivery);
        continue;
      }
      try {
        const passed = processor.admit(delivery);
        if (passed === true) this.#pass(delivery);
        else if (passed !== false) this.#passLater(delivery, passed);
        else limiter?.release(delivery);
      } catch (error) {
        limiter?.release(delivery);
        processor.fault(delivery, error);
      }
    }
    this.#starting = false;
  }

  #passLater(delivery: Delivery<T>, passed: Promise<boolean>): void {
    const { inFlight, processor, limiter } = this.#deps;
    inFlight.admitting++;
    passed
      .then((ok) => {
        if (ok) this.#pass(delivery);
        else limiter?.release(delivery);
      })
      .catch((error: unknown) => {
        limiter?.release(delivery);
        processor.fault(delivery, error);
      })
      .finally(() => {
        inFlight.admitting--;
        this.slotFreed();
      });
  }

  startBatches(): void {
    const { inFlight, observe, spec, processor } = this.#deps;
    while (inFlight.batches.size > 0 && inFlight.runs.size < this.#slots) {
      const batch = inFlight.batches.take();
      if (batch === undefined) return;
      const { items, bytes, waitedMs, closedBy } = batch;
      const [first, ...rest] = this.#stillClaimed(items);
      if (first === undefined) continue;
      observe?.({ type: 'batch.started', pipeline: spec.name, size: items.length, bytes, waitedMs, closedBy });
      processor.execute([first, ...rest]);
    }
  }

  /** A claim may be lost while its message waits in a batch: the worker that took it over settles the message. */
  #stillClaimed(items: readonly Delivery<T>[]): readonly Delivery<T>[] {
    for (const delivery of items) if (delivery.claimLost) this.#deps.processor.releaseLost(delivery);
    return items.filter(({ claimLost, phase }) => !claimLost && phase !== 'settled');
  }

  /** Many slots become free in one turn of the event loop: one pull for all of them. */
  requestSoon(): void {
    if (this.#requesting) return;
    this.#requesting = true;
    this.#deps.clock.soon(() => {
      this.#requesting = false;
      this.request();
    });
  }

  request(): void {
    const { inFlight, demand, open, usable, partitions, limiter } = this.#deps;
    if (!open()) return;
    if (limiter !== undefined) this.#deferExcess(limiter);
    const capacity = this.#capacity();
    const { held } = inFlight;
    const waiting = inFlight.buffer.ready + inFlight.buffer.keyOrder.waiting;
    demand.request(
      { capacity, held, waiting, reserved: this.#freeReserves() },
      (source) => usable(source) && partitions?.mayPull(source) !== false,
    );
    if (
      inFlight.batcher !== undefined &&
      held >= capacity &&
      inFlight.runs.size < this.#slots &&
      inFlight.batches.size === 0
    ) {
      // Every place is taken by batches that wait for more: there is no more, until one of them goes.
      inFlight.batcher.closeOldest('demand');
    }
  }

  /** All slots are taken: whether this source has one of its own left, and a message for it. */
  readonly #mayUseReserve = (source: number): boolean => {
    const { breaker, spec, inFlight } = this.#deps;
    if (breaker !== undefined && breaker.phase !== 'closed') return false;
    return inFlight.buffer.readyOf(source) && inFlight.slotsOf(source) < (spec.sources[source]?.reserve ?? 0);
  };

  /** By source: slots of its own that nothing is at and nothing waits for. */
  #freeReserves(): readonly number[] {
    const { breaker, spec, inFlight } = this.#deps;
    if (this.#reserves.length === 0 || (breaker !== undefined && breaker.phase !== 'closed')) return NONE;
    return spec.sources.map(({ reserve }, source) => reserve - inFlight.heldOf(source));
  }

  /** Slots there are: one while the breaker probes, none while it is open. */
  get #slots(): number {
    const { breaker, inFlight } = this.#deps;
    if (breaker === undefined || breaker.phase === 'closed') return inFlight.concurrency;
    return breaker.phase === 'probing' ? 1 : 0;
  }

  /** Makes room for messages of other keys, by sending back those that would wait here for long. */
  #deferExcess(limiter: Limiter<T>): void {
    const { spec, demand, defer, partitions } = this.#deps;
    // In order, a message that leaves would come after its successors.
    if (spec.orderBy !== undefined || partitions !== undefined || spec.limits?.key === undefined) return;
    for (const excess of limiter.takeExcess(this.#limitRoom(limiter), demand.behind)) defer(excess);
  }

  /**
   * Places besides the slots. Messages that no limit lets start would take those of others; with all slots taken some are
   * looked at ahead, while there is a backlog, so that keys can take turns.
   */
  #limitRoom(limiter: Limiter<T>): number {
    const { inFlight, spec } = this.#deps;
    if (inFlight.slots < this.#slots) return limiter.room;
    return spec.limits?.key === undefined ? 0 : Math.min(limiter.room, AHEAD_PER_SLOT * inFlight.concurrency);
  }

  #roomBehindLimits(): number {
    const { limiter, demand, inFlight } = this.#deps;
    if (limiter === undefined) return 0;
    const room = this.#limitRoom(limiter);
    if (inFlight.slots < this.#slots) return Math.min(room, limiter.waiting + 1) + inFlight.settingAside;
    return (demand.behind > 0 ? room : 0) + inFlight.settingAside;
  }

  #capacity(): number {
    const { spec, inFlight, prefetch, breaker } = this.#deps;
    if (breaker?.phase === 'probing') return 1;
    const slots = inFlight.concurrency;
    if (spec.work.kind === 'batch') return slots * spec.work.batch.maxSize;
    const behind =
      spec.orderBy === undefined && this.#deps.partitions === undefined
        ? 0
        : Math.min(inFlight.buffer.keyOrder.waiting, KEY_ROOM_PER_SLOT * slots);
    return slots + (prefetch?.current ?? spec.flow.prefetch ?? 0) + behind + this.#roomBehindLimits();
  }

  /** Whose order and whose limits it is under. */
  #findKeys(delivery: Delivery<T>): void {
    this.#findKey(delivery);
    this.#deps.limiter?.findKey(delivery, this.#deps.spec.decode);
  }

  #findKey(delivery: Delivery<T>): void {
    const { orderBy, decode } = this.#deps.spec;
    if (orderBy === undefined) {
      delivery.key = this.#keyReaders[delivery.source]?.(delivery.subject);
      return;
    }
    try {
      delivery.decode(decode);
    } catch {
      // `admit` meets the same failure and dead-letters the message.
      return;
    }
    try {
      delivery.key = orderBy(delivery.message);
    } catch (error) {
      delivery.fault = { error };
    }
  }

  /** Admitted: to its handler, or into a batch. */
  #pass(delivery: Delivery<T>): void {
    const { inFlight, processor, closing, limiter } = this.#deps;
    if (delivery.phase === 'settled') {
      limiter?.release(delivery);
      return;
    }
    if (inFlight.batcher === undefined) {
      processor.execute([delivery]);
      return;
    }
    if (closing()) {
      // A pause or drain takes what waits at its end: it finds this one there, its claim released.
      void processor.claims.release(delivery);
      inFlight.buffer.queue(delivery);
      return;
    }
    try {
      inFlight.batcher.add(delivery);
    } catch (error) {
      delivery.fault = { error };
      void processor.admit(delivery);
    }
  }
}
