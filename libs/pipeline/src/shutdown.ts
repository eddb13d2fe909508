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
import type { Sweeper } from './settle/heartbeat.ts';
import type { Workload } from './schedule/in-flight.ts';

const FLUSH_TIMEOUT_MS = 2000;

export interface EndingParts<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly port: NatsPort;
  readonly observe: Observer | undefined;
  readonly work: Workload<T, D>;
  readonly processor: Processor<T, D>;
  readonly settlements: Settlements;
  readonly sweeper: Sweeper<T, D>;
  readonly pullers: readonly Puller[];
  /** Gives a message back to the server. */
  readonly giveBack: (delivery: Delivery<T>) => void;
}

/** How a pipeline lets go of what it holds, for a pause and for good, and the count of it. */
export class Ending<T, D> {
  /** What became of messages since the drain began. */
  readonly tally = { settled: 0, returned: 0 };
  readonly #parts: EndingParts<T, D>;

  constructor(parts: EndingParts<T, D>) {
    this.#parts = parts;
  }

  /** Resolves when no pull is open: what the server still sends is received until then, not lost. */
  async pullsEnded(): Promise<void> {
    await Promise.all(this.#parts.pullers.map((puller) => puller.idle()));
  }

  /** Gives back everything that has not started. Not before the pulls have ended: it would come straight back here. */
  returnWaiting(): void {
    for (const delivery of this.#parts.work.takeWaiting()) this.#return(delivery);
  }

  /** The order that strands nothing; see the diagram in the README. */
  async drain(timeoutMs: number): Promise<DrainReport> {
    const { clock, work } = this.#parts;
    const deadline = clock.now() + timeoutMs;
    this.tally.settled = 0;
    this.tally.returned = 0;
    work.batcher?.closeAll('drain');
    await Promise.race([this.pullsEnded(), this.#sleep(timeoutMs)]);
    await this.#closeInboxes();
    this.returnWaiting();
    await Promise.race([work.whenIdle(), this.#sleep(deadline - clock.now())]);
    await this.#forceEnd();
    return await this.#account();
  }

  /** Aborts what still runs, gives it the grace, and gives its messages back. */
  async #forceEnd(): Promise<void> {
    const { clock, work, spec, sweeper } = this.#parts;
    if (work.idle) return;
    const now = clock.now();
    for (const { items } of work.batches.takeAll()) {
      for (const delivery of items) this.#return(delivery);
    }
    for (const run of work.runs) {
      run.abort(new HandlerAborted('DRAIN_FORCED', 'the pipeline is stopping and its drain timeout is over'), now);
    }
    await Promise.race([work.whenIdle(), this.#sleep(spec.lease.graceMs)]);
    for (const run of work.runs) {
      if (run.phase === 'aborting') sweeper.giveUp(run);
    }
    // The settlements of what was given up are queued by now or never.
    await new Promise<void>((resolve) => {
      clock.soon(resolve);
    });
  }

  async #account(): Promise<DrainReport> {
    const { settlements, work } = this.#parts;
    const { settled, returned } = this.tally;
    const proven = await settlements.flush(FLUSH_TIMEOUT_MS);
    const unsent = proven ? 0 : Math.min(settled + returned, settlements.held);
    const fromReturned = Math.min(returned, unsent);
    return {
      settled: settled - (unsent - fromReturned),
      returned: returned - fromReturned,
      abandoned: unsent + work.intake.heldCount(),
    };
  }

  async #closeInboxes(): Promise<void> {
    const { port, pullers } = this.#parts;
    if (!port.connected) return;
    const closing = Promise.all(pullers.map((puller) => puller.drain()));
    await Promise.race([closing.catch(() => undefined), this.#sleep(FLUSH_TIMEOUT_MS)]);
  }

  #return(delivery: Delivery<T>): void {
    const { giveBack, processor, observe, spec, clock } = this.#parts;
    giveBack(delivery);
    void processor.claims.abandon(delivery);
    const heldMs = clock.now() - delivery.receivedAt;
    observe?.({ type: 'message.settled', pipeline: spec.name, message: delivery, as: 'returned', heldMs });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.clock.after(Math.max(0, ms), resolve);
    });
  }
}
