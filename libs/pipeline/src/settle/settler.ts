import type { Clock } from '../clock.ts';
import type { EngineEffects } from '../runtime.ts';
import type { Logger } from '../log.ts';
import { errorMessage } from '../process/describe-error.ts';
import type { Observer } from '../events.ts';
import type { NatsPort } from '../nats/port.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Delivery } from '../process/delivery.ts';
import type { ProcessorHost } from '../process/host.ts';
import type { Processor } from '../process/processor.ts';
import type { Run } from '../process/run.ts';
import type { Limiter } from '../limits/limiter.ts';
import type { Breaker } from '../schedule/breaker.ts';
import type { InFlight } from '../schedule/in-flight.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import type { Shutdown } from '../shutdown.ts';
import type { Settlements } from './settlements.ts';

/** What the settler acts on. The later parts are made after it, so they are asked for when they are needed. */
export interface SettlerDeps<T, D> {
  readonly name: string;
  readonly effects: EngineEffects;
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly inFlight: InFlight<T, D>;
  readonly settlements: Settlements;
  readonly breaker: Breaker | undefined;
  readonly limiter: Limiter<T> | undefined;
  readonly processor: () => Processor<T, D>;
  readonly scheduler: () => Scheduler<T, D>;
  readonly prefetch: () => Prefetch | undefined;
  readonly tally: () => Shutdown<T, D>['tally'];
  readonly stopped: () => boolean;
  /** An attempt store tells other replicas what became of a delivery. */
  readonly countsAttempts: boolean;
  /** Whether what is held of a source is still this replica's: when it is not, its deliveries are outdated from then on. */
  readonly holds: ((source: number) => boolean) | undefined;
  /** The breaker tripped or closed: the pipeline's state follows. */
  readonly breakerChanged: (reason: string) => void;
}

const DROPPED = Promise.resolve({ stream: '', sequence: 0, duplicate: false });

/** Carries out on the server what the processor decides, and keeps the counts of what is in flight. */
export class Settler<T, D> implements ProcessorHost<T, D> {
  readonly #deps: SettlerDeps<T, D>;

  constructor(deps: SettlerDeps<T, D>) {
    this.#deps = deps;
  }

  publish(...args: Parameters<NatsPort['publish']>): ReturnType<NatsPort['publish']> {
    return this.#deps.effects.emits === 'drop' ? DROPPED : this.#deps.port.publish(...args);
  }

  publishDeadLetter(...args: Parameters<NatsPort['publish']>): ReturnType<NatsPort['publish']> {
    return this.#deps.effects.deadLetters === 'drop' ? DROPPED : this.#deps.port.publish(...args);
  }

  ack(delivery: Delivery<T>): Promise<void> | undefined {
    const { inFlight, settlements, scheduler, tally } = this.#deps;
    scheduler().requestSoon();
    if (this.#isGone(delivery)) return undefined;
    const confirmed = settlements.ack(delivery);
    tally().settled++;
    if (confirmed === undefined) {
      inFlight.buffer.remove(delivery);
      return undefined;
    }
    return confirmed.then(() => inFlight.buffer.remove(delivery));
  }

  retry(delivery: Delivery<T>, delayMs: number, failed: boolean): void {
    const { inFlight, settlements, clock, tally, processor, stopped } = this.#deps;
    if (this.#isGone(delivery)) return;
    if (delivery.key !== undefined && !stopped()) {
      // Its successors wait for it, so it must not leave: if the buffer filled up behind it, the server could not
      // bring it back. Heartbeats keep it here while it waits.
      if (failed) delivery.attempt++;
      this.wait(delivery, delayMs);
      return;
    }
    processor().attempts.left(delivery, failed);
    settlements.nak(delivery, delayMs);
    tally().settled++;
    const now = clock.now();
    inFlight.naked.add(now + delayMs, now);
    inFlight.buffer.remove(delivery);
  }

  /** Acknowledges a message that has not started when its copy is stored, and sends it back if that fails. */
  async setAside(delivery: Delivery<T>, stored: Promise<void>, delayMs: number): Promise<void> {
    const { inFlight, clock, processor, observe, name, scheduler } = this.#deps;
    try {
      await stored;
      processor().attempts.gone(delivery);
      await this.ack(delivery);
      const heldMs = clock.now() - delivery.receivedAt;
      observe?.({ type: 'message.settled', pipeline: name, message: delivery.message, as: 'deferred', heldMs });
    } catch (error) {
      this.#deps.log.warn({ pipeline: name, error: errorMessage(error) }, 'a message could not be set aside');
      if (delivery.phase !== 'settled') this.defer(delivery, delayMs);
    } finally {
      inFlight.settingAside--;
      scheduler().slotFreed();
    }
  }

  /** Sends back a message that has not started, because of a limit. */
  defer(delivery: Delivery<T>, delayMs: number): void {
    const { inFlight, settlements, clock, processor, observe, name } = this.#deps;
    processor().attempts.left(delivery, false);
    settlements.nak(delivery, delayMs);
    inFlight.buffer.remove(delivery);
    const heldMs = clock.now() - delivery.receivedAt;
    observe?.({ type: 'message.settled', pipeline: name, message: delivery.message, as: 'deferred', heldMs });
  }

  /**
   * Without an attempt store it waits here: sent back each time, it would look to other replicas, and to this process once it
   * was started again, like a message that ends the process.
   */
  snooze(delivery: Delivery<T>, delayMs: number): void {
    const { inFlight, countsAttempts, stopped } = this.#deps;
    const isKept = !countsAttempts && delivery.key === undefined && inFlight.waits.mayKeep(delivery);
    if (isKept && !stopped() && !this.#isGone(delivery)) this.#waitHere(delivery, delayMs, true);
    else this.retry(delivery, delayMs, false);
  }

  wait(delivery: Delivery<T>, delayMs: number): void {
    this.#waitHere(delivery, delayMs, false);
  }

  #waitHere(delivery: Delivery<T>, delayMs: number, snoozed: boolean): void {
    const { inFlight, clock } = this.#deps;
    if (delivery.outdated) return;
    delivery.phase = 'waiting';
    // Beside a hung handler of its key it must not run: its wait begins to count when that one returns.
    const timer = delivery.hung ? undefined : clock.after(delayMs, () => this.#waitEnded(delivery));
    inFlight.waits.set(delivery, { timer, dueAt: clock.now() + delayMs, snoozed });
  }

  /** It need not wait any longer. */
  endWait(delivery: Delivery<T>): void {
    if (this.#deps.inFlight.waits.get(delivery) === undefined || delivery.hung) return;
    this.#waitEnded(delivery);
  }

  release(delivery: Delivery<T>, silently: boolean, delayMs?: number): void {
    const { inFlight, settlements, tally, processor } = this.#deps;
    if (this.#isGone(delivery)) return;
    processor().attempts.left(delivery, false);
    if (!silently) {
      settlements.nak(delivery, delayMs);
      tally().released++;
    }
    inFlight.buffer.remove(delivery);
  }

  concluding(run: Run<T, D>): void {
    // A process that was frozen finds its handlers returning before any timer of its own has run.
    this.#deps.holds?.(run.deliveries[0].source);
  }

  /** There is nothing to settle here any more. */
  #isGone(delivery: Delivery<T>): boolean {
    // It outdates the delivery.
    this.#deps.holds?.(delivery.source);
    return delivery.outdated;
  }

  runStarted(run: Run<T, D>): void {
    this.#deps.inFlight.runs.add(run);
  }

  runEnded(run: Run<T, D>): void {
    const { inFlight, observe, name, prefetch, scheduler, limiter } = this.#deps;
    inFlight.runs.delete(run);
    if (limiter !== undefined) {
      for (const delivery of run.deliveries) limiter.release(delivery);
      limiter.learn(run.endedAt - run.startedAt);
    }
    if (run.deliveries.some(({ hung }) => hung)) this.#hungReturned(run);
    if (run.countedAsHung) {
      inFlight.hungHandlers--;
      inFlight.hungMessages -= run.deliveries.length;
      const { hungHandlers } = inFlight;
      const [{ message }] = run.deliveries;
      observe?.({ type: 'handler.hungReturned', pipeline: name, message, hungHandlers });
    }
    prefetch()?.learn(run.endedAt - run.startedAt);
    scheduler().slotFreed();
  }

  sample(failed: boolean, error: unknown, startedAt: number): void {
    const { breaker, observe, name, clock, scheduler, breakerChanged } = this.#deps;
    if (breaker === undefined || (failed && !breaker.counts(error))) return;
    const change = breaker.record(failed, startedAt);
    if (change === 'close') {
      observe?.({ type: 'breaker.closed', pipeline: name });
      breakerChanged('the probe succeeded');
    } else if (change === 'trip') {
      const { failures, samples, coolDownMs } = breaker;
      observe?.({ type: 'breaker.tripped', pipeline: name, failures, samples, coolDownMs });
      clock.after(coolDownMs, () => {
        breaker.probe(clock.now());
        observe?.({ type: 'breaker.probing', pipeline: name });
        scheduler().advance();
      });
      breakerChanged('too many failures');
    }
  }

  #waitEnded(delivery: Delivery<T>): void {
    const { inFlight, processor, scheduler } = this.#deps;
    inFlight.waits.end(delivery);
    try {
      inFlight.buffer.queue(delivery);
    } catch (error) {
      processor().fault(delivery, error);
    }
    scheduler().advance();
  }

  /** A hung handler returned after all: its keys are free, and what waits for its retry may run. */
  #hungReturned(run: Run<T, D>): void {
    const { inFlight, clock } = this.#deps;
    for (const delivery of run.deliveries) {
      delivery.hung = false;
      const waiting = inFlight.waits.get(delivery);
      if (waiting === undefined) inFlight.buffer.freeKey(delivery);
      else this.wait(delivery, Math.max(0, waiting.dueAt - clock.now()));
    }
  }
}
