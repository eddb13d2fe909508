import type { Clock, Timer } from '../clock.ts';
import { HandlerAborted } from '../errors.ts';
import type { Observer } from '../events.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Delivery } from '../process/delivery.ts';
import type { Processor } from '../process/processor.ts';
import type { Puller } from '../pull/puller.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Run } from '../process/run.ts';
import type { Settlements } from './settlements.ts';
import type { SourceHealth } from '../pull/source-health.ts';
import type { InFlight } from '../schedule/in-flight.ts';

export interface HeartbeatDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly observe: Observer | undefined;
  readonly inFlight: InFlight<T, D>;
  readonly processor: Processor<T, D>;
  readonly settlements: Settlements;
  readonly prefetch: Prefetch | undefined;
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
  readonly heartbeatMs: () => number;
  /** Called at every tick while messages are held. */
  readonly holding: (oldestReceivedAt: number) => void;
  readonly connected: () => boolean;
  /** Called first at every tick. */
  readonly ticking: () => void;
  /** Slots turned out to be free. */
  readonly request: () => void;
  /** Called at every tick. */
  readonly ticked: () => void;
  /** Every slot is taken by a hung handler. */
  readonly allHung: () => void;
}

const LONGEST_TICK_MS = 250;
const SHORTEST_TICK_MS = 5;
const SHORTEST_GRACE_TICK_MS = 20;

/**
 * Everything that happens because time passed, in one timer: heartbeats for all that is held, handler timeouts, claims,
 * the prefetch, the stall watchdog. A timer per message would cost more than the message.
 */
export class Heartbeat<T, D> {
  readonly #deps: HeartbeatDeps<T, D>;
  readonly #tickMs: number;
  readonly #timer: Timer;
  #tickedAt: number;

  constructor(deps: HeartbeatDeps<T, D>) {
    this.#deps = deps;
    const { handlerMs, graceMs } = deps.spec.timeout;
    const tick = Math.min(
      LONGEST_TICK_MS,
      deps.heartbeatMs() / 2,
      deps.spec.flow.idleHeartbeatMs / 2,
      handlerMs / 4,
      Math.max(SHORTEST_GRACE_TICK_MS, graceMs / 2),
    );
    this.#tickMs = Math.max(SHORTEST_TICK_MS, tick);
    this.#tickedAt = deps.clock.now();
    this.#timer = deps.clock.every(this.#tickMs, () => this.#tick());
  }

  close(): void {
    this.#timer.cancel();
  }

  /** Sends `+WPI` for everything held whose last heartbeat is due, or for everything: its ack_wait starts again. */
  extend(everything = false): void {
    const { inFlight, settlements, observe, spec, heartbeatMs, clock, connected } = this.#deps;
    if (!connected()) return;
    const now = clock.now();
    const dueMs = heartbeatMs();
    let count = 0;
    let oldest = now;
    for (const delivery of inFlight.buffer.held()) {
      oldest = Math.min(oldest, delivery.receivedAt);
      if (!everything && now - delivery.heartbeatAt < dueMs) continue;
      delivery.heartbeatAt = now;
      settlements.working(delivery);
      count++;
    }
    if (oldest < now) this.#deps.holding(oldest);
    if (count > 0) observe?.({ type: 'heartbeats.sent', pipeline: spec.name, count });
  }

  /** Stops waiting for a handler that was told to stop. */
  markHung(run: Run<T, D>): void {
    const { inFlight, observe, spec, processor } = this.#deps;
    inFlight.hungHandlers++;
    inFlight.hungMessages += run.deliveries.length;
    run.countedAsHung = true;
    for (const delivery of run.deliveries) delivery.hung = true;
    observe?.({
      type: 'handler.hung',
      pipeline: spec.name,
      message: run.deliveries[0].message,
      hungHandlers: inFlight.hungHandlers,
    });
    processor.settleHung(run);
    if (inFlight.hungHandlers >= inFlight.concurrency) this.#deps.allHung();
  }

  #tick(): void {
    const { clock, inFlight, processor, prefetch, observe, spec, connected } = this.#deps;
    const now = clock.now();
    const lateMs = now - this.#tickedAt - this.#tickMs;
    this.#tickedAt = now;
    this.#deps.ticking();
    this.extend();
    let oldestMs = 0;
    for (const run of inFlight.runs) {
      const ageMs = now - run.startedAt;
      if (run.phase === 'running') {
        oldestMs = Math.max(oldestMs, ageMs);
        if (ageMs >= spec.timeout.handlerMs) this.#timeOut(run, now);
      } else if (run.phase === 'aborting' && now - run.abortedAt >= spec.timeout.graceMs) this.markHung(run);
    }
    processor.claims.renew(inFlight.buffer.held(), (delivery) => this.#claimLost(delivery));
    if (prefetch !== undefined) {
      const before = prefetch.current;
      const after = prefetch.retune(oldestMs);
      if (after !== before) observe?.({ type: 'prefetch.changed', pipeline: spec.name, prefetch: after });
    }
    if (connected()) this.#watch(lateMs);
    this.#deps.ticked();
  }

  /**
   * Another worker has the message: its handler is told to stop. A batch goes on, as its other messages are still held
   * here; the lost one is left to the other worker at the end.
   */
  #claimLost(delivery: Delivery<T>): void {
    const { inFlight, clock } = this.#deps;
    for (const run of inFlight.runs) {
      if (run.deliveries.length === 1 && run.deliveries[0] === delivery) {
        run.abort(new HandlerAborted('CLAIM_LOST', 'another worker took the key over'), clock.now());
      }
    }
  }

  #timeOut(run: Run<T, D>, now: number): void {
    const { observe, spec } = this.#deps;
    const timeoutMs = spec.timeout.handlerMs;
    run.abort(new HandlerAborted('HANDLER_TIMEOUT', `the handler did not finish within ${timeoutMs} ms`), now);
    for (const { message } of run.deliveries)
      observe?.({ type: 'message.timedOut', pipeline: spec.name, message, timeoutMs });
  }

  #watch(lateMs: number): void {
    const { pullers, sources, request } = this.#deps;
    let freed = false;
    for (const [index, puller] of pullers.entries()) {
      if (puller.expire()) freed = true;
      // A tick that comes late means that this process did not run: the silence says nothing about the server.
      else if (lateMs < puller.options.idleHeartbeatMs) sources[index]?.watch();
    }
    if (freed) request();
  }
}
