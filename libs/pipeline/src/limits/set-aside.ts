import type { Clock } from '../clock.ts';
import { scheduleOf } from '../delayed/schedule.ts';
import { call } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import { ORIGINAL_ID } from '../process/delivery.ts';
import type { Delivery } from '../process/delivery.ts';

/** The server's time is asked for this often while messages are set aside. */
const ASK_TIME_EVERY_MS = 30_000;

/**
 * Stores messages as message schedules, which the server publishes when their turn is near: there they occupy no place of
 * max_ack_pending, so a backlog of any length can be looked through.
 */
export class SetAside<T> {
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #subject: string;
  /** The server's clock less ours. Schedules name a time of day, and this machine's may be wrong. */
  #offsetMs = 0;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(port: NatsPort, clock: Clock, subject: string) {
    this.#port = port;
    this.#clock = clock;
    this.#subject = subject;
  }

  /** Resolves when the copy is stored. The same message has the same id: a repeat within the duplicate window is folded. */
  async store(delivery: Delivery<T>, delayMs: number): Promise<void> {
    await this.#askTime(delivery.stream);
    const { subject, body, stream, sequence, storedAtMs } = delivery;
    const headers: Record<string, string | readonly string[]> = {};
    for (const [name, values] of delivery.headers) if (!name.startsWith('Nats-')) headers[name] = values;
    // Under its own id it would be a duplicate for its stream.
    headers[ORIGINAL_ID] = delivery.id;
    const id = `${stream}:${sequence}:${storedAtMs}`;
    const at = new Date(this.#clock.wall() + this.#offsetMs + delayMs);
    const scheduled = scheduleOf(this.#subject, { subject, id, headers }, at);
    await this.#port.publish(scheduled.subject, body, { id, headers: scheduled.headers });
  }

  async #askTime(stream: string): Promise<void> {
    const now = this.#clock.now();
    if (now - this.#askedAt < ASK_TIME_EVERY_MS) return;
    this.#askedAt = now;
    const { ts } = await call<{ readonly ts?: string }>(this.#port, `STREAM.INFO.${stream}`);
    const serverMs = Date.parse(ts ?? '');
    if (!Number.isNaN(serverMs)) this.#offsetMs = serverMs - this.#clock.wall();
  }
}
