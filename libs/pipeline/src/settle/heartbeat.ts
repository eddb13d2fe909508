import type { Clock, Timer } from '../clock.ts';
import { HandlerAborted } from '../errors.ts';
import type { Observer } from '../events.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Processor } from '../process/processor.ts';
import type { Puller } from '../pull/puller.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Run } from '../process/run.ts';
import type { Settlements } from './settlements.ts';
import type { SourceHealth } from '../pull/source-health.ts';
import type { Workload } from '../schedule/in-flight.ts';

export interface SweeperParts<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly observe: Observer | undefined;
  readonly work: Workload<T, D>;
  readonly processor: Processor<T, D>;
  readonly settlements: Settlements;
  readonly prefetch: Prefetch | undefined;
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
  readonly heartbeatMs: number;
  readonly connected: () => boolean;
  /** Slots turned out to be free. */
  readonly ask: () => void;
  /** Every slot is a zombie's. */
  readonly stuck: () => void;
}

const LONGEST_TICK_MS = 250;
const SHORTEST_TICK_MS = 5;
const SHORTEST_GRACE_TICK_MS = 20;

/**
 * Everything that happens because time passed, in one timer: heartbeats for all that is held, handler timeouts, claims,
 * the prefetch, the stall watchdog. A timer per message would cost more than the message.
 */
export class Sweeper<T, D> {
  readonly #parts: SweeperParts<T, D>;
  readonly #tickMs: number;
  readonly #timer: Timer;
  #sweptAt: number;

  constructor(parts: SweeperParts<T, D>) {
    this.#parts = parts;
    const { handlerTimeoutMs, graceMs } = parts.spec.lease;
    const tick = Math.min(
      LONGEST_TICK_MS,
      parts.heartbeatMs / 2,
      parts.spec.flow.idleHeartbeatMs / 2,
      handlerTimeoutMs / 4,
      Math.max(SHORTEST_GRACE_TICK_MS, graceMs / 2),
    );
    this.#tickMs = Math.max(SHORTEST_TICK_MS, tick);
    this.#sweptAt = parts.clock.now();
    this.#timer = parts.clock.every(this.#tickMs, () => this.#sweep());
  }

  close(): void {
    this.#timer.cancel();
  }

  /** Extends the lease of everything held that was not heard of for a heartbeat, or of everything. */
  beat(everything = false): void {
    const { work, settlements, observe, spec, heartbeatMs, clock, connected } = this.#parts;
    if (!connected()) return;
    const now = clock.now();
    let count = 0;
    for (const delivery of work.intake.held()) {
      if (!everything && now - delivery.beatAt < heartbeatMs) continue;
      delivery.beatAt = now;
      settlements.working(delivery);
      count++;
    }
    if (count > 0) observe?.({ type: 'heartbeats.sent', pipeline: spec.name, count });
  }

  /** Stops waiting for a handler that was told to stop. */
  giveUp(run: Run<T, D>): void {
    const { work, observe, spec, processor } = this.#parts;
    work.zombies++;
    work.zombieMessages += run.deliveries.length;
    run.countedAsZombie = true;
    observe?.({ type: 'handler.zombie', pipeline: spec.name, message: run.deliveries[0], zombies: work.zombies });
    processor.giveUp(run);
    if (work.zombies >= spec.flow.concurrency) this.#parts.stuck();
  }

  #sweep(): void {
    const { clock, work, processor, prefetch, observe, spec, connected } = this.#parts;
    const now = clock.now();
    const lateMs = now - this.#sweptAt - this.#tickMs;
    this.#sweptAt = now;
    this.beat();
    let oldestMs = 0;
    for (const run of work.runs) {
      const ageMs = now - run.startedAt;
      if (run.phase === 'running') {
        oldestMs = Math.max(oldestMs, ageMs);
        if (ageMs >= spec.lease.handlerTimeoutMs) this.#timeOut(run, now);
      } else if (run.phase === 'aborting' && now - run.abortedAt >= spec.lease.graceMs) this.giveUp(run);
    }
    processor.claims.renew(work.runs);
    if (prefetch !== undefined) {
      const before = prefetch.current;
      const after = prefetch.retune(oldestMs);
      if (after !== before) observe?.({ type: 'prefetch.changed', pipeline: spec.name, prefetch: after });
    }
    if (connected()) this.#watch(lateMs);
  }

  #timeOut(run: Run<T, D>, now: number): void {
    const { observe, spec } = this.#parts;
    const timeoutMs = spec.lease.handlerTimeoutMs;
    run.abort(new HandlerAborted('HANDLER_TIMEOUT', `the handler did not finish within ${timeoutMs} ms`), now);
    for (const message of run.deliveries)
      observe?.({ type: 'message.timedOut', pipeline: spec.name, message, timeoutMs });
  }

  #watch(lateMs: number): void {
    const { pullers, sources, ask } = this.#parts;
    let freed = false;
    for (const [index, puller] of pullers.entries()) {
      if (puller.expire()) freed = true;
      // After a pause of this very process the silence is ours, not the server's.
      else if (lateMs < puller.options.idleHeartbeatMs) sources[index]?.watch();
    }
    if (freed) ask();
  }
}
