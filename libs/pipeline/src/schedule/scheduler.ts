import type { Breaker } from './breaker.ts';
import type { Clock } from '../clock.ts';
import { Delivery, parseAckSubject } from '../process/delivery.ts';
import type { DeliveryMeta, DeliverySource } from '../process/delivery.ts';
import type { Demand } from '../pull/demand.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { NatsMessage } from '../nats/port.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Processor } from '../process/processor.ts';
import type { Puller } from '../pull/puller.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Settlements } from '../settle/settlements.ts';
import type { Workload } from './in-flight.ts';

/** With ordered lanes, messages that wait behind their key do not use up the room of others, up to this many per slot. */
const LANE_ROOM_PER_SLOT = 3;
const NONE: readonly number[] = [];

export interface AdmissionParts<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly work: Workload<T, D>;
  readonly processor: Processor<T, D>;
  readonly settlements: Settlements;
  readonly demand: Demand;
  readonly prefetch: Prefetch | undefined;
  readonly breaker: Breaker | undefined;
  /** Whether new work may be taken and started now. */
  readonly open: () => boolean;
  /** Whether a drain or a pause has begun: what is at the gate goes back to wait. */
  readonly closing: () => boolean;
  readonly usable: (source: number) => boolean;
}

/** From the wire to a handler: takes messages in, starts those that may start, and asks for as many as have room. */
export class Admission<T, D> {
  readonly #parts: AdmissionParts<T, D>;
  readonly #origins: readonly DeliverySource[];
  /** Overwritten for every message: what is needed of it goes into the delivery at once. */
  readonly #meta: DeliveryMeta = { attempt: 0, sequence: 0, pending: 0 };
  /** The sources that have slots of their own. */
  readonly #reserves: readonly number[];
  #starting = false;
  #asking = false;

  constructor(parts: AdmissionParts<T, D>) {
    this.#parts = parts;
    const { spec } = parts;
    this.#origins = spec.sources.map(({ stream, consumer }, index) => ({
      index,
      stream,
      consumer,
      maxAttempts: spec.retry.maxAttempts,
      ackPrefix: `$JS.ACK.${stream}.${consumer}.`,
    }));
    this.#reserves = spec.sources.flatMap(({ reserve }, index) => (reserve > 0 ? [index] : []));
  }

  /** A message arrived. */
  receive(source: number, raw: NatsMessage, puller: Puller): void {
    const { spec, clock, log, observe, work, settlements } = this.#parts;
    const from = this.#origins[source];
    const reply = raw.reply ?? '';
    const meta = this.#meta;
    if (from === undefined || !parseAckSubject(reply, meta, from.ackPrefix)) {
      log.warn({ pipeline: spec.name, subject: raw.subject }, 'not a JetStream delivery, ignored');
      return;
    }
    puller.lag = meta.pending;
    // Before any ack of this turn is queued: then the next pull leaves in the same socket write.
    this.askSoon();
    const running = work.intake.find(source, meta.sequence);
    if (running !== undefined) {
      // The server thinks our lease ran out. One settlement, on the newest delivery, covers both.
      running.reply = reply;
      running.attempt = Math.max(running.attempt, meta.attempt);
      running.beatAt = clock.now();
      observe?.({ type: 'message.joined', pipeline: spec.name, message: running });
      return;
    }
    const delivery = new Delivery<T>(raw, reply, meta, from, clock.now());
    if (meta.attempt > 1 && settlements.ackedHere(source, meta.sequence)) {
      void settlements.ack(delivery);
      observe?.({ type: 'message.joined', pipeline: spec.name, message: delivery });
      return;
    }
    this.#findKey(delivery);
    work.intake.add(delivery);
    observe?.({ type: 'message.received', pipeline: spec.name, message: delivery });
    this.startReady();
  }

  /** Starts what may start and asks for what has room. */
  pump(): void {
    this.startBatches();
    this.startReady();
    this.ask();
  }

  /** A slot is free: start what is here, ask for what is not. */
  freed(): void {
    this.startBatches();
    this.startReady();
    this.askSoon();
    this.#parts.work.wakeIdle();
  }

  startReady(): void {
    const { work, demand, processor, open } = this.#parts;
    if (this.#starting || !open()) return;
    this.#starting = true;
    // Batches take their slots when they close, not while they fill.
    while (work.intake.ready > 0) {
      const free = work.batcher !== undefined || work.slots < this.#slots;
      if (!free && !this.#reserves.some(this.#mayUseReserve)) break;
      if (!demand.mayStart()) break;
      const delivery = free ? work.intake.take() : work.intake.take(this.#mayUseReserve);
      if (delivery === undefined) break;
      const passed = processor.gate(delivery);
      if (passed === true) this.#pass(delivery);
      else if (passed !== false) {
        work.gating++;
        void passed.then((ok) => {
          work.gating--;
          if (ok) this.#pass(delivery);
          else this.freed();
        });
      }
    }
    this.#starting = false;
  }

  startBatches(): void {
    const { work, observe, spec, processor } = this.#parts;
    while (work.batches.size > 0 && work.runs.size < this.#slots) {
      const batch = work.batches.take();
      if (batch === undefined) return;
      const { items, bytes, waitedMs, closedBy } = batch;
      observe?.({ type: 'batch.started', pipeline: spec.name, size: items.length, bytes, waitedMs, closedBy });
      processor.execute(items);
    }
  }

  /** Many slots become free in one turn of the event loop: one pull for all of them. */
  askSoon(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#parts.clock.soon(() => {
      this.#asking = false;
      this.ask();
    });
  }

  ask(): void {
    const { work, demand, open, usable } = this.#parts;
    if (!open()) return;
    const capacity = this.#capacity();
    const { held } = work;
    const waiting = work.intake.ready + work.intake.lanes.waiting;
    demand.ask({ capacity, held, waiting, reserved: this.#freeReserves() }, usable);
    if (work.batcher !== undefined && held >= capacity && work.runs.size < this.#slots && work.batches.size === 0) {
      // Every place is taken by batches that wait for more: there is no more, until one of them goes.
      work.batcher.closeOldest('demand');
    }
  }

  /** All slots are taken: whether this source has one of its own left, and a message for it. */
  readonly #mayUseReserve = (source: number): boolean => {
    const { breaker, spec, work } = this.#parts;
    if (breaker !== undefined && breaker.phase !== 'closed') return false;
    return work.intake.readyOf(source) && work.slotsOf(source) < (spec.sources[source]?.reserve ?? 0);
  };

  /** By source: slots of its own that nothing is at and nothing waits for. */
  #freeReserves(): readonly number[] {
    const { breaker, spec, work } = this.#parts;
    if (this.#reserves.length === 0 || (breaker !== undefined && breaker.phase !== 'closed')) return NONE;
    return spec.sources.map(({ reserve }, source) => reserve - work.intake.heldOf(source));
  }

  /** Slots there are: one while the breaker probes, none while it is open. */
  get #slots(): number {
    const { breaker, spec } = this.#parts;
    if (breaker === undefined || breaker.phase === 'closed') return spec.flow.concurrency;
    return breaker.phase === 'probing' ? 1 : 0;
  }

  #capacity(): number {
    const { spec, work, prefetch, breaker } = this.#parts;
    if (breaker?.phase === 'probing') return 1;
    const slots = spec.flow.concurrency;
    if (spec.work.kind === 'batch') return slots * spec.work.batch.maxSize;
    const behind = spec.orderBy === undefined ? 0 : Math.min(work.intake.lanes.waiting, LANE_ROOM_PER_SLOT * slots);
    return slots + (prefetch?.current ?? spec.flow.prefetch ?? 0) + behind;
  }

  #findKey(delivery: Delivery<T>): void {
    const { orderBy, decode } = this.#parts.spec;
    if (orderBy === undefined) return;
    try {
      delivery.decode(decode);
    } catch {
      // The gate meets the same failure and dead-letters the message.
      return;
    }
    try {
      delivery.key = orderBy(delivery);
    } catch (error) {
      delivery.fault = { error };
    }
  }

  /** The gate let it through: to its handler, or into a batch. */
  #pass(delivery: Delivery<T>): void {
    const { work, processor, closing } = this.#parts;
    if (delivery.phase === 'settled') return;
    if (work.batcher === undefined) {
      processor.execute([delivery]);
      return;
    }
    if (closing()) {
      work.intake.queue(delivery);
      return;
    }
    try {
      work.batcher.add(delivery);
    } catch (error) {
      delivery.fault = { error };
      void processor.gate(delivery);
    }
  }
}
