import type { Clock } from '../clock.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { HandlerAborted } from '../errors.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import { consumerInfo, unpin } from '../nats/jetstream-api.ts';
import type { ConsumerInfo } from '../nats/jetstream-api.ts';
import type { NatsMessage, NatsPort } from '../nats/port.ts';
import type { Delivery } from '../process/delivery.ts';
import { errorMessage } from '../process/describe-error.ts';
import type { LiveConsumers } from '../pull/live-consumers.ts';
import type { Puller } from '../pull/puller.ts';
import type { InFlight } from '../schedule/in-flight.ts';
import type { Settlements } from '../settle/settlements.ts';
import type { KeepAlive } from './keep-alive.ts';
import { sendBack } from './outstanding.ts';
import { Pin } from './pin.ts';

/** Which one it is. */
export interface PartitionName {
  /** Of its source, by which the engine knows it. */
  readonly index: number;
  readonly number: number;
  readonly stream: string;
  readonly consumer: string;
}

/** What a partition acts on. */
export interface PartitionDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly inFlight: InFlight<T, D>;
  readonly settlements: Settlements;
  readonly live: LiveConsumers<T, D>;
  /** Ask for what has room. */
  readonly requestSoon: () => void;
  /** Messages of a partition that was taken over may start, in this order. */
  readonly startKept: (deliveries: readonly Delivery<T>[]) => void;
  /** Sends back what has not started of a source. */
  readonly releaseWaitingOf: (source: number) => void;
}

/** Whether a replica takes part in the sharing: `away` while it takes no more, `closed` for good. */
export type Participation = 'joining' | 'here' | 'away' | 'closed';

/** What the partitions of a pipeline share. */
export interface PartitionShared {
  readonly keepAlive: KeepAlive;
  readonly puller: Puller | undefined;
  readonly state: () => Participation;
  /** What this replica says about its partitions changed. */
  readonly changed: () => void;
  /** Whether another replica said within a time that the partition is pinned to it. */
  readonly isPinnedElsewhere: (withinMs: number) => boolean;
}

const STEP_MS = 25;
const FLUSH_TIMEOUT_MS = 2000;
const LOOK_OFTEN_MS = 1000;
const LOOK_RARELY_MS = 10_000;

/**
 * One partition, as this replica sees it:
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
export class Partition<T, D> {
  readonly name: PartitionName;
  readonly pin: Pin;
  readonly #deps: PartitionDeps<T, D>;
  readonly #shared: PartitionShared;
  #wanted = false;
  #handingOver = false;
  /** When to look for messages that no replica holds. */
  #lookAt = 0;

  constructor(name: PartitionName, deps: PartitionDeps<T, D>, shared: PartitionShared) {
    this.name = name;
    this.pin = new Pin(deps.clock);
    this.#deps = deps;
    this.#shared = shared;
  }

  /** It is this replica's turn to read it. */
  get wanted(): boolean {
    return this.#wanted;
  }

  want(wanted: boolean): void {
    if (wanted && !this.#wanted) this.#lookAt = 0;
    this.#wanted = wanted;
  }

  /** Whether more of it may be asked for. */
  get mayPull(): boolean {
    if (!this.#wanted || this.pin.takingOver || this.#handingOver) return false;
    // A pull without a pin waits at the server until the partition is free; more of them would only wait longer.
    return this.pin.id !== undefined || this.#shared.puller?.requested === 0;
  }

  /** Whether what is held of it is still this replica's to settle. */
  holds(): boolean {
    if (this.pin.hasLapsed) this.#lost('its pin was not renewed in time');
    return this.pin.id !== undefined;
  }

  /** A message arrived: to be started, to be kept until the partition is taken over, or of a pin that is lost. */
  received(raw: NatsMessage, sentAt: number): 'take' | 'keep' | 'drop' {
    const id = pinIdOf(raw);
    this.holds();
    const { pin } = this;
    if (id === undefined && pin.id === undefined) {
      // Its headers cannot be read. The server knows the pin as well; the message is sent back when it is known.
      this.#beside(this.#findPin(sentAt));
      return 'drop';
    }
    if (id === undefined) return pin.takingOver ? 'keep' : 'take';
    if (pin.wasLost(id)) return 'drop';
    if (pin.id !== undefined && pin.id !== id) this.#lost('the server gave it a new pin');
    if (pin.id === undefined) this.#take(id, sentAt);
    return pin.takingOver ? 'keep' : 'take';
  }

  /** The server refused a pull for its pin. */
  refused(pin: string): void {
    if (this.pin.id === pin) this.#lost('the server has given it to another');
  }

  /** Called often: renews the pin, hands the partition over, or looks for what a dead replica left behind. */
  look(): void {
    const { clock, port } = this.#deps;
    const { pin } = this;
    if (!this.holds()) {
      if (!this.#wanted || !port.connected || clock.now() < this.#lookAt) return;
      this.#lookAt = clock.now() + LOOK_OFTEN_MS;
      this.#beside(this.#lookForOutstanding());
      return;
    }
    if (pin.id !== undefined && port.connected) {
      const { index, stream, consumer } = this.name;
      this.#shared.keepAlive.renew(index, pin.id, pin.ttlMs, { stream, name: consumer });
    }
    if (!this.#wanted && this.#shared.state() === 'here' && !this.#handingOver) this.#beside(this.#handOver());
  }

  /** Gives the pin up. Everything held must be settled or sent back by now. */
  async release(): Promise<void> {
    if (!this.holds()) return;
    const { port, log, spec } = this.#deps;
    const { stream, consumer } = this.name;
    this.#dropPin();
    this.#shared.changed();
    this.#tell({ type: 'partition.released' });
    try {
      await unpin(port, stream, consumer);
    } catch (error) {
      const fields = { pipeline: spec.name, stream, consumer, error: errorMessage(error) };
      log.warn(fields, 'the pin could not be given up: the next replica waits until it ends by itself');
    }
  }

  // --- taking over ---------------------------------------------------------------------------------------------------

  #take(id: string, sentAt: number): void {
    const { keepAlive, puller } = this.#shared;
    const { index } = this.name;
    this.pin.take(id, sentAt, this.#deps.live.at(index)?.pinTtlMs ?? 0);
    if (puller !== undefined) puller.pinId = id;
    keepAlive.hurry(index);
    void this.#takeOver(id).catch((error: unknown) => this.#lost(errorMessage(error)));
  }

  async #findPin(sentAt: number): Promise<void> {
    const info = await this.#info();
    const id = info?.priority_groups?.[0]?.pinned_client_id ?? '';
    if (id !== '' && this.pin.id === undefined && !this.pin.wasLost(id)) this.#take(id, sentAt);
  }

  /** Waits until every message that was delivered and not settled is here, then starts them in the order of the stream. */
  async #takeOver(id: string): Promise<void> {
    const { inFlight, startKept, clock } = this.#deps;
    const { puller, state } = this.#shared;
    const { pin } = this;
    const { index } = this.name;
    let askAgainAt = 0;
    if (this.#shared.isPinnedElsewhere(pin.ttlMs)) await this.#untilGivenUp(id);
    while (state() !== 'closed' && pin.id === id) {
      if (state() === 'away') {
        // What is here goes back, and more would not be sent back again.
        await this.#sleep(STEP_MS);
        continue;
      }
      const before = inFlight.buffer.heldOf(index);
      const info = await this.#info();
      if (pin.id !== id) return;
      // What arrived meanwhile may be in the count or not: counted as not, it is looked at once more.
      const outstanding = (info?.num_ack_pending ?? Number.POSITIVE_INFINITY) - before;
      if (outstanding <= 0) break;
      if (info !== undefined && clock.now() >= askAgainAt) {
        askAgainAt = clock.now() + LOOK_OFTEN_MS;
        this.#sendBack(info);
      }
      if (info !== undefined && puller !== undefined && puller.requested < outstanding) puller.request(outstanding);
      await this.#sleep(info === undefined ? LOOK_OFTEN_MS : STEP_MS);
    }
    if (state() === 'closed' || pin.id !== id) return;
    pin.takenOver();
    const kept = [...inFlight.takingOver].filter(({ source }) => source === index);
    for (const delivery of kept) inFlight.takingOver.delete(delivery);
    this.#tell({ type: 'partition.taken', messages: kept.length });
    startKept(kept.toSorted((a, b) => a.sequence - b.sequence));
  }

  /**
   * An unpinning names no pin: one that a broken link held up takes the pin from its holder of that moment, which goes on
   * until it is refused. What it says ends the wait, or the time within which it must have noticed. Only then is asked for
   * what it held: what it has settled meanwhile is gone.
   */
  async #untilGivenUp(id: string): Promise<void> {
    const { clock } = this.#deps;
    const { state, isPinnedElsewhere } = this.#shared;
    const { ttlMs } = this.pin;
    const until = clock.now() + ttlMs;
    while (state() !== 'closed' && this.pin.id === id && clock.now() < until && isPinnedElsewhere(ttlMs))
      await this.#sleep(STEP_MS);
  }

  /** A replica that died may have left messages behind while nothing new comes: they would wait for ack_wait. */
  async #lookForOutstanding(): Promise<void> {
    const info = await this.#info();
    if (info === undefined || this.pin.id !== undefined) return;
    const isPinned = info.priority_groups?.some(({ pinned_client_id: id = '' }) => id !== '') === true;
    if (info.num_ack_pending === 0 && !isPinned) this.#lookAt = this.#deps.clock.now() + LOOK_RARELY_MS;
    else if (!isPinned) this.#sendBack(info);
  }

  #sendBack(info: ConsumerInfo): void {
    const { port, log, clock, inFlight, spec } = this.#deps;
    const { index, stream, consumer } = this.name;
    const isHeld = (sequence: number): boolean => inFlight.buffer.find(index, sequence) !== undefined;
    if (sendBack(port, { stream, consumer, info, isHeld, wallMs: clock.wall() })) return;
    const fields = { pipeline: spec.name, stream, consumer };
    log.warn(
      fields,
      'what the last reader of the partition held lies too far apart to be sent back: ack_wait brings it',
    );
  }

  // --- giving up -----------------------------------------------------------------------------------------------------

  /** Gives it to the replica whose turn it is, when nothing of it runs here any more. */
  async #handOver(): Promise<void> {
    const { inFlight, releaseWaitingOf, settlements, port } = this.#deps;
    const { puller, state, changed } = this.#shared;
    const { index } = this.name;
    const { pin } = this;
    const { id } = pin;
    this.#handingOver = true;
    const goesOn = (): boolean => pin.id === id && !this.#wanted && state() === 'here';
    try {
      await puller?.idle();
      while (goesOn()) {
        if (pin.takingOver || inFlight.buffer.heldOf(index) > 0) {
          if (!pin.takingOver) releaseWaitingOf(index);
          await this.#sleep(STEP_MS);
          continue;
        }
        if (!port.connected) {
          // What gives it up would be sent after the reconnect, when another replica may have it.
          await this.#sleep(STEP_MS);
          continue;
        }
        await settlements.flush(FLUSH_TIMEOUT_MS);
        // A link that stood still may have brought more meanwhile.
        if (pin.takingOver || inFlight.buffer.heldOf(index) > 0 || !goesOn() || !port.connected) continue;
        await this.release();
      }
    } finally {
      this.#handingOver = false;
      changed();
      this.#deps.requestSoon();
    }
  }

  #lost(reason: string): void {
    const { inFlight, settlements, clock, requestSoon } = this.#deps;
    const { index, number, stream, consumer } = this.name;
    this.#dropPin();
    this.#shared.puller?.forgetPulls();
    settlements.forget(index, `$JS.ACK.${stream}.${consumer}.`);
    const held = [...inFlight.buffer.held()].filter(({ source }) => source === index);
    const error = new HandlerAborted('PARTITION_LOST', `partition ${number} is another replica's now: ${reason}`);
    for (const run of inFlight.runs) if (run.deliveries[0].source === index) run.abort(error, clock.now());
    for (const delivery of held) inFlight.outdate(delivery);
    this.#tell({ type: 'partition.lost', reason, messages: held.length });
    this.#shared.changed();
    requestSoon();
  }

  #dropPin(): void {
    this.pin.drop();
    const { puller } = this.#shared;
    if (puller === undefined) return;
    puller.pinId = undefined;
    puller.lag = 0;
  }

  // --- what each step uses -------------------------------------------------------------------------------------------

  /** For what goes on beside the caller. */
  #beside(work: Promise<void>): void {
    work.catch((error: unknown) => {
      const { log, spec } = this.#deps;
      log.error({ pipeline: spec.name, error: errorMessage(error) }, 'a step of sharing partitions failed');
    });
  }

  async #info(): Promise<ConsumerInfo | undefined> {
    const { port, log, spec } = this.#deps;
    const { stream, consumer } = this.name;
    try {
      return await consumerInfo(port, stream, consumer);
    } catch (error) {
      const fields = { pipeline: spec.name, stream, consumer, error: errorMessage(error) };
      log.debug(fields, 'the consumer of a partition did not answer: it is asked again');
      return undefined;
    }
  }

  #tell(
    event:
      | { type: 'partition.taken'; messages: number }
      | { type: 'partition.released' }
      | { type: 'partition.lost'; reason: string; messages: number },
  ): void {
    const { observe, log, spec } = this.#deps;
    const { stream, consumer, number } = this.name;
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
