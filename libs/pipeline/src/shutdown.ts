import type { Clock } from './clock.ts';
import type { Delivery } from './process/delivery.ts';
import { HandlerAborted } from './errors.ts';
import type { Observer } from './events.ts';
import type { NatsPort } from './nats/port.ts';
import type { Processor } from './process/processor.ts';
import type { Puller } from './pull/puller.ts';
import type { ResolvedSpec } from './config/resolve-spec.ts';
import type { DrainReport } from './running.ts';
import type { Settlements } from './settle/settlements.ts';
import type { Heartbeat } from './settle/heartbeat.ts';
import type { InFlight } from './schedule/in-flight.ts';

const FLUSH_TIMEOUT_MS = 2000;

export interface ShutdownDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly port: NatsPort;
  readonly observe: Observer | undefined;
  readonly inFlight: InFlight<T, D>;
  readonly processor: Processor<T, D>;
  readonly settlements: Settlements;
  readonly heartbeat: Heartbeat<T, D>;
  readonly pullers: readonly Puller[];
  /** Resolves when settlements held through an outage have been sent. */
  readonly resent: () => Promise<void>;
  /** Gives a message back to the server. */
  readonly release: (delivery: Delivery<T>, delayMs: number | undefined) => void;
}

/** Releases what a pipeline holds, for a pause or for good, and counts what became of it. */
export class Shutdown<T, D> {
  /** What became of messages since the drain began. */
  readonly tally = { settled: 0, released: 0 };
  readonly #deps: ShutdownDeps<T, D>;

  constructor(deps: ShutdownDeps<T, D>) {
    this.#deps = deps;
  }

  /** Resolves when no pull is open: what the server still sends is received until then, not lost. */
  async pullsEnded(): Promise<void> {
    await Promise.all(this.#deps.pullers.map((puller) => puller.idle()));
  }

  /** Releases everything that has not started. Not before the pulls have ended: the server would deliver it here again. */
  releaseWaiting(how: { readonly keep?: ReadonlySet<string>; readonly comesBack?: boolean } = {}): void {
    const { inFlight, clock } = this.#deps;
    for (const { delivery, delayMs } of inFlight.takeWaiting(clock.now(), how)) this.#release(delivery, delayMs);
  }

  /** Releases what has not started of one source, whose pulls have ended. */
  releaseWaitingOf(source: number): void {
    for (const delivery of this.#deps.inFlight.takeWaitingOf(source)) this.#release(delivery);
  }

  /**
   * For a pause: releases what has not started, and waits for what has. Messages behind a running one of their key are
   * released after it: if it fails they would be delivered before it.
   */
  async releaseUnstarted(stillPaused: () => boolean): Promise<void> {
    const { inFlight } = this.#deps;
    this.releaseWaiting({ keep: inFlight.runningKeys(), comesBack: true });
    for (const { items } of inFlight.batches.takeAll()) for (const delivery of items) this.#release(delivery);
    await inFlight.whenIdle();
    if (stillPaused()) this.releaseWaiting({ comesBack: true });
  }

  /** The order that strands nothing; see the diagram in the README. */
  async drain(timeoutMs: number): Promise<DrainReport> {
    const { clock, inFlight } = this.#deps;
    const deadline = clock.now() + timeoutMs;
    this.tally.settled = 0;
    this.tally.released = 0;
    inFlight.batcher?.closeAll('drain');
    await Promise.race([this.pullsEnded(), this.#sleep(timeoutMs)]);
    await this.#closeInboxes();
    this.releaseWaiting({ keep: inFlight.runningKeys() });
    await Promise.race([inFlight.whenIdle(), this.#sleep(deadline - clock.now())]);
    await this.#forceEnd();
    this.releaseWaiting();
    return await this.#account();
  }

  /** Aborts what still runs, gives it the grace, and gives its messages back. */
  async #forceEnd(): Promise<void> {
    const { clock, inFlight, spec, heartbeat } = this.#deps;
    if (inFlight.idle) return;
    const now = clock.now();
    for (const { items } of inFlight.batches.takeAll()) {
      for (const delivery of items) this.#release(delivery);
    }
    for (const run of inFlight.runs) {
      run.abort(new HandlerAborted('DRAIN_FORCED', 'the pipeline is stopping and its drain timeout is over'), now);
    }
    await Promise.race([inFlight.whenIdle(), this.#sleep(spec.timeout.graceMs)]);
    for (const run of inFlight.runs) {
      if (run.phase === 'aborting') heartbeat.markHung(run);
    }
    // The settlements of what was given up are queued by now or never.
    await new Promise<void>((resolve) => {
      clock.soon(resolve);
    });
  }

  async #account(): Promise<DrainReport> {
    const { settlements, inFlight, resent } = this.#deps;
    await resent();
    const { settled, released } = this.tally;
    const proven = await settlements.flush(FLUSH_TIMEOUT_MS);
    // What was sent and is not proven may be lost with the connection: it counts as not settled.
    // So does what was acknowledged before the drain.
    const unproven = proven ? 0 : settlements.unprovenCount;
    const unsent = Math.min(settled + released, unproven);
    const fromReleased = Math.min(released, unsent);
    return {
      settled: settled - (unsent - fromReleased),
      released: released - fromReleased,
      abandoned: unproven + inFlight.buffer.heldCount(),
    };
  }

  async #closeInboxes(): Promise<void> {
    const { port, pullers } = this.#deps;
    if (!port.connected) return;
    const closing = Promise.all(pullers.map((puller) => puller.drain()));
    await Promise.race([closing.catch(() => undefined), this.#sleep(FLUSH_TIMEOUT_MS)]);
  }

  #release(delivery: Delivery<T>, delayMs?: number): void {
    const { release, processor, observe, spec, clock } = this.#deps;
    void processor.attempts.ended(delivery, false);
    release(delivery, delayMs);
    void processor.claims.release(delivery);
    const heldMs = clock.now() - delivery.receivedAt;
    observe?.({ type: 'message.settled', pipeline: spec.name, message: delivery.message, as: 'released', heldMs });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#deps.clock.after(Math.max(0, ms), resolve);
    });
  }
}
