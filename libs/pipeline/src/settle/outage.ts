import type { Clock } from '../clock.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { NatsPort } from '../nats/port.ts';
import type { Delivery } from '../process/delivery.ts';
import { errorMessage } from '../process/describe-error.ts';
import type { LiveConsumers } from '../pull/live-consumers.ts';
import type { InFlight } from '../schedule/in-flight.ts';
import type { Heartbeat } from './heartbeat.ts';
import { firstReplaced } from './restored-state.ts';
import type { Settlements } from './settlements.ts';
import type { Settler } from './settler.ts';

export interface OutageDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly port: NatsPort;
  readonly inFlight: InFlight<T, D>;
  readonly settlements: Settlements;
  readonly settler: Settler<T, D>;
  readonly live: LiveConsumers<T, D>;
  readonly heartbeat: () => Heartbeat<T, D>;
  readonly stopped: () => boolean;
}

/**
 * What is held through an outage: handlers go on, settlements wait. When the connection is back they are sent, but for
 * messages that are no longer what they were: the consumer or its stream may have been made again, the broker restored
 * from older state, and an ack would remove another message that has the sequence now.
 */
export class Outage<T, D> {
  readonly #deps: OutageDeps<T, D>;
  #connections = 1;
  #lostAt = 0;
  #resent: Promise<void> = Promise.resolve();

  constructor(deps: OutageDeps<T, D>) {
    this.#deps = deps;
  }

  /** Connections so far. */
  get connections(): number {
    return this.#connections;
  }

  /** Resolves when settlements held through the last outage have been sent. */
  get resent(): Promise<void> {
    return this.#resent;
  }

  began(): void {
    const { clock, live, settlements, spec } = this.#deps;
    this.#lostAt = clock.now();
    for (const index of spec.sources.keys()) live.interrupted(index);
    settlements.hold();
  }

  ended(): void {
    const { clock, live, inFlight, settler, heartbeat, settlements } = this.#deps;
    this.#connections++;
    settlements.reconnected();
    // Either ack_wait starts again now, or it has run out and the server redelivers.
    if (clock.now() - this.#lostAt > live.ackWaitMs) {
      for (const { delivery } of inFlight.takeWaiting(clock.now())) settler.release(delivery, true);
    }
    heartbeat().extend(true);
    this.#resent = this.#resend();
  }

  /** The consumer of a source is another one than that whose messages came before the epoch `since`. */
  consumerMadeAgain(index: number, since: number): void {
    const { inFlight, settlements } = this.#deps;
    settlements.forget(index, this.#ackPrefix(index));
    for (const delivery of inFlight.buffer.held())
      if (delivery.source === index && delivery.epoch < since) this.outdate(delivery);
  }

  /** The message is no longer in the stream under its sequence: its handler goes on, and nothing is settled. */
  outdate(delivery: Delivery<T>): void {
    const { inFlight, log, spec } = this.#deps;
    inFlight.outdate(delivery);
    log.warn(
      { pipeline: spec.name, stream: delivery.stream, sequence: delivery.sequence },
      'another message has its sequence now: what is held is not settled',
    );
  }

  async #resend(): Promise<void> {
    const { spec, live, port, settlements, observe, stopped } = this.#deps;
    const connections = this.#connections;
    await live.checkAll();
    await Promise.all(spec.sources.map((_, index) => this.#dropReplaced(index)));
    // Cut again meanwhile: the next connection sends them.
    if (stopped() || connections !== this.#connections || !port.connected) return;
    const resent = settlements.resend(live.ackWaitMs);
    observe?.({ type: 'connection.restored', pipeline: spec.name, connections, resent });
  }

  async #dropReplaced(index: number): Promise<void> {
    const { spec, live, port, inFlight, settlements, log } = this.#deps;
    const stream = spec.sources[index]?.stream ?? '';
    const ackPrefix = this.#ackPrefix(index);
    const epoch = live.epoch(index);
    const held = [...inFlight.buffer.held()].filter((one) => one.source === index && one.epoch < epoch);
    try {
      const from = await firstReplaced(port, stream, [...held, ...settlements.unproven(ackPrefix)]);
      if (from === Number.POSITIVE_INFINITY) return;
      settlements.forget(index, ackPrefix, from);
      for (const delivery of held)
        if (delivery.sequence >= from && delivery.phase !== 'settled') this.outdate(delivery);
    } catch (error) {
      // Without the right to read the stream, or an answer, it is taken for the one it was.
      log.warn(
        { pipeline: spec.name, stream, error: errorMessage(error) },
        'cannot compare the stream with what is held: grant STREAM.INFO and STREAM.MSG.GET on it',
      );
    }
  }

  #ackPrefix(index: number): string {
    const source = this.#deps.spec.sources[index];
    return `$JS.ACK.${source?.stream ?? ''}.${source?.consumer ?? ''}.`;
  }
}
