import type { Clock, Timer } from '../clock.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { Puller } from './puller.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 2000;
const WATCHDOG_SLACK_MS = 100;

export interface SourceHealthEvents {
  readonly pipeline: string;
  readonly observe: Observer | undefined;
  readonly log: Logger;
  /** The source may be asked again. */
  retry(): void;
  /** `trouble` changed. */
  changed(): void;
  /** After trouble: does the consumer still fit? Resolves to what does not. */
  recheck(): Promise<readonly string[]>;
}

/**
 * Whether one source can be asked, and how trouble is got out of.
 *
 * - no trouble: asked as slots become free.
 * - `stalled`: two heartbeats were missed while a pull was open, twice in a row. Pulled again on a fresh inbox each time.
 * - `missing`: the server says there is no such stream or consumer. Asked again with backoff; nothing is created.
 * - `drifted`: it came back with a configuration that does not fit. Looked at again with backoff, not pulled from.
 *
 * The first word from the server (a message or a heartbeat) ends `stalled` and `missing`.
 */
export class SourceHealth {
  trouble: 'stalled' | 'missing' | 'drifted' | undefined;
  readonly #puller: Puller;
  readonly #clock: Clock;
  readonly #events: SourceHealthEvents;
  #stalls = 0;
  #failures = 0;
  #resting: Timer | undefined;

  constructor(puller: Puller, clock: Clock, events: SourceHealthEvents) {
    this.#puller = puller;
    this.#clock = clock;
    this.#events = events;
  }

  /** False while a backoff runs. */
  get usable(): boolean {
    return this.#resting === undefined && this.trouble !== 'drifted';
  }

  /** Looks for a stall; called by the heartbeat, and not right after this process itself was blocked. */
  watch(): void {
    const silentMs = this.#puller.silentMs();
    if (silentMs <= 2 * this.#puller.options.idleHeartbeatMs + WATCHDOG_SLACK_MS) return;
    this.#stalls++;
    this.#emit({ type: 'source.stalled', silentMs, consecutive: this.#stalls });
    this.#puller.renew();
    this.#puller.awaitingLife = true;
    if (this.#stalls >= 2) this.#enter('stalled');
    this.#events.retry();
  }

  /** The server answered a pull with a refusal that a little patience cures. */
  refused(description: string): void {
    this.#events.log.debug({ pipeline: this.#events.pipeline, ...this.#name(), description }, 'pull refused');
    this.#rest();
  }

  missing(description: string): void {
    const retryMs = this.#rest();
    this.#puller.awaitingLife = true;
    this.#emit({ type: 'source.missing', error: new Error(description), retryMs });
    this.#enter('missing');
  }

  /** The server spoke. */
  alive(): void {
    const { trouble } = this;
    this.#stalls = 0;
    this.#failures = 0;
    if (trouble === undefined) return;
    this.#recover();
    // It may have come back with another configuration.
    if (trouble === 'missing') void this.#recheck();
  }

  /** A fresh connection starts with a clean slate. */
  reset(): void {
    this.#resting?.cancel();
    this.#resting = undefined;
    this.#stalls = 0;
    this.#failures = 0;
    if (this.trouble === undefined) return;
    this.trouble = undefined;
    this.#events.changed();
  }

  close(): void {
    this.#resting?.cancel();
  }

  async #recheck(): Promise<void> {
    let problems: readonly string[];
    try {
      problems = await this.#events.recheck();
    } catch {
      // Not answered: what matters is that messages come, and they do.
      return;
    }
    if (problems.length === 0) {
      if (this.trouble === 'drifted') this.#recover();
      return;
    }
    const retryMs = this.#rest(() => void this.#recheck());
    this.#emit({ type: 'source.drifted', problems, retryMs });
    this.#enter('drifted');
  }

  #recover(): void {
    this.trouble = undefined;
    this.#emit({ type: 'source.recovered' });
    this.#events.changed();
    this.#events.retry();
  }

  #enter(trouble: NonNullable<SourceHealth['trouble']>): void {
    if (this.trouble === trouble) return;
    this.trouble = trouble;
    this.#events.changed();
  }

  #rest(then: () => void = () => this.#events.retry()): number {
    const restMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    this.#resting?.cancel();
    this.#resting = this.#clock.after(restMs, () => {
      this.#resting = undefined;
      then();
    });
    return restMs;
  }

  #name(): { stream: string; consumer: string } {
    const { stream, consumer } = this.#puller.options;
    return { stream, consumer };
  }

  #emit(
    event:
      | { type: 'source.stalled'; silentMs: number; consecutive: number }
      | { type: 'source.missing'; error: unknown; retryMs: number }
      | { type: 'source.drifted'; problems: readonly string[]; retryMs: number }
      | { type: 'source.recovered' },
  ): void {
    this.#events.observe?.({ pipeline: this.#events.pipeline, ...this.#name(), ...event });
    const line = { pipeline: this.#events.pipeline, ...this.#name(), event: event.type };
    if (event.type === 'source.recovered') this.#events.log.info(line, 'source is back');
    else this.#events.log.warn(line, 'source in trouble');
  }
}
