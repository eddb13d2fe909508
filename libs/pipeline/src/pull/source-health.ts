import type { Clock, Timer } from '../clock.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { Puller } from './puller.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 2000;
const WATCHDOG_SLACK_MS = 100;
/** A refusal that lasts this long is no matter of a moment. */
const LONG_REFUSED_MS = 10_000;
/** Long enough for what was sent back to be delivered again. */
const BODYLESS_ACCEPTED_MS = 300_000;

export interface SourceHealthEvents {
  readonly pipeline: string;
  readonly observe: Observer | undefined;
  readonly log: Logger;
  /** The source may be asked again. */
  retry(): void;
  /** `trouble` changed. */
  changed(): void;
  /** Does the consumer still fit? Resolves to what does not; takes over what may change. */
  recheck(): Promise<readonly string[]>;
  /** Are acks allowed now? */
  probeSettling(): Promise<boolean>;
  /** How often it is asked without a reason; undefined for never. */
  readonly recheckEveryMs: number | undefined;
}

/**
 * Whether one source can be asked, and how trouble is got out of.
 *
 * - no trouble: asked as slots become free.
 * - `stalled`: two heartbeats were missed while a pull was open, twice in a row. Pulled again on a fresh inbox each time.
 * - `missing`: the server says there is no such stream or consumer. Asked again with backoff; nothing is created.
 * - `drifted`: its configuration does not fit any more, or the server paused it. Looked at again with backoff, not pulled
 *   from.
 * - `refused`: the server has refused every pull for ten seconds. Asked again with backoff.
 * - `denied`: the server refuses pulls, or acks, for want of permission. Tried again with backoff. While acks are refused
 *   nothing is pulled: what is handled would come again after every ack_wait.
 *
 * The configuration is looked at now and then, on a new connection, after a refusal and when the consumer came back. The
 * first word from the server (a message or a heartbeat) ends `stalled`, `missing` and `refused`.
 */
export class SourceHealth {
  trouble: 'stalled' | 'missing' | 'drifted' | 'refused' | 'denied' | undefined;
  /** What is wrong, for a person. */
  detail = '';
  readonly #puller: Puller;
  readonly #clock: Clock;
  readonly #events: SourceHealthEvents;
  #stalls = 0;
  #failures = 0;
  #resting: Timer | undefined;
  #refusedSince: number | undefined;
  /** The question about the consumer that is on its way. */
  #question: symbol | undefined;
  #suspicious = false;
  #settlingDenied = false;
  readonly #timer: Timer | undefined;

  constructor(puller: Puller, clock: Clock, events: SourceHealthEvents) {
    this.#puller = puller;
    this.#clock = clock;
    this.#events = events;
    const { recheckEveryMs } = events;
    if (recheckEveryMs !== undefined) {
      this.#timer = clock.every(recheckEveryMs, () => {
        if (this.trouble === undefined) void this.#recheck();
      });
    }
  }

  /** False while a backoff runs. */
  get usable(): boolean {
    return this.#resting === undefined && this.trouble !== 'drifted' && !this.#settlingDenied;
  }

  /** Looks for a stall; called by the heartbeat, and not right after this process itself was blocked. */
  watch(): void {
    const silentMs = this.#puller.silentMs();
    if (silentMs <= 2 * this.#puller.options.idleHeartbeatMs + WATCHDOG_SLACK_MS) return;
    this.#stalls++;
    this.#emit({ type: 'source.stalled', silentMs, consecutive: this.#stalls });
    this.#puller.renew();
    this.#puller.awaitingLife = true;
    if (this.#stalls >= 2 && this.trouble !== 'denied') this.#enter('stalled');
    this.#events.retry();
  }

  /** The server answered a pull with a refusal that a little patience cures. */
  refused(description: string): void {
    this.#events.log.debug({ pipeline: this.#events.pipeline, ...this.#name(), description }, 'pull refused');
    const now = this.#clock.now();
    // The consumer may have been changed into one that refuses these pulls.
    if (this.#refusedSince === undefined) this.askAboutConsumer();
    this.#refusedSince ??= now;
    this.#puller.awaitingLife = true;
    if (this.trouble === 'drifted') return;
    this.#rest();
    if (this.trouble !== undefined || now - this.#refusedSince < LONG_REFUSED_MS) return;
    this.detail = description;
    this.#emit({ type: 'source.refused', description, refusedMs: now - this.#refusedSince });
    this.#enter('refused');
  }

  /** The server refused a pull, an ack or the inbox for want of permission. */
  denied(operation: 'pull' | 'settle' | 'subscribe', subject: string): void {
    if (operation === 'settle') {
      if (this.#settlingDenied) return;
      this.#settlingDenied = true;
    } else this.#puller.awaitingLife = true;
    if (operation === 'pull') this.#puller.forgetPulls();
    this.detail = `permission denied to ${operation === 'subscribe' ? 'subscribe' : 'publish'} to ${subject}`;
    const retryMs = this.#rest();
    if (this.trouble === 'denied') return;
    this.#emit({ type: 'source.denied', operation, subject, retryMs });
    this.#enter('denied');
  }

  /**
   * A message came without its body: the consumer may have been changed into one with `headers_only`. It may have used up
   * the last pull, and another is sent only once the consumer was looked at.
   */
  bodyless(): void {
    if (this.#events.recheckEveryMs === undefined) return this.#events.retry();
    this.#suspicious = true;
    this.askAboutConsumer();
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
    this.#refusedSince = undefined;
    if (trouble === undefined || trouble === 'drifted' || this.#settlingDenied) return;
    this.#recover();
    // It may have come back with another configuration.
    if (trouble === 'missing') this.askAboutConsumer();
  }

  /** A fresh connection starts with a clean slate. */
  reset(): void {
    this.#stopResting();
    this.#stalls = 0;
    this.#failures = 0;
    this.#refusedSince = undefined;
    // Its user may be another one; a refused ack says so at once.
    this.#settlingDenied = false;
    // Asked on the connection that broke, it has no answer.
    this.#question = undefined;
    this.askAboutConsumer();
    if (this.trouble === undefined) return;
    this.trouble = undefined;
    this.#events.changed();
  }

  close(): void {
    this.#resting?.cancel();
    this.#timer?.cancel();
  }

  /** Looks whether the consumer still fits. */
  askAboutConsumer(): void {
    if (this.#events.recheckEveryMs !== undefined) void this.#recheck();
  }

  async #probeSettling(): Promise<void> {
    const allowed = await this.#events.probeSettling().catch(() => false);
    if (!this.#settlingDenied) return;
    if (!allowed) {
      this.#rest();
      return;
    }
    this.#settlingDenied = false;
    this.#recover();
  }

  async #recheck(): Promise<void> {
    if (this.#question !== undefined) return;
    const question = Symbol('question');
    this.#question = question;
    const problems = await this.#events.recheck().catch(() => undefined);
    // The connection broke meanwhile, and the consumer was asked about on the next one.
    if (this.#question !== question) return;
    this.#question = undefined;
    if (problems === undefined) {
      // Not answered: a source that was not pulled from is asked about again, any other one tells by its messages.
      if (this.trouble === 'drifted' || this.#suspicious) this.#rest();
      return;
    }
    if (problems.length === 0) {
      const wasSuspicious = this.#suspicious;
      this.#suspicious = false;
      if (wasSuspicious) this.#puller.bodylessUntil = this.#clock.now() + BODYLESS_ACCEPTED_MS;
      if (this.trouble === 'drifted') {
        // What it waited for is known now.
        this.#stopResting();
        this.#recover();
      } else if (wasSuspicious) this.#events.retry();
      return;
    }
    const retryMs = this.#rest();
    this.detail = problems.join('; ');
    if (this.trouble === 'drifted') return;
    this.#emit({ type: 'source.drifted', problems, retryMs });
    this.#enter('drifted');
  }

  #recover(): void {
    this.trouble = undefined;
    this.detail = '';
    this.#refusedSince = undefined;
    this.#emit({ type: 'source.recovered' });
    this.#events.changed();
    this.#events.retry();
  }

  #enter(trouble: NonNullable<SourceHealth['trouble']>): void {
    if (this.trouble === trouble) return;
    this.trouble = trouble;
    this.#events.changed();
  }

  #rest(): number {
    const restMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    this.#resting?.cancel();
    this.#resting = this.#clock.after(restMs, () => this.#rested());
    return restMs;
  }

  /** Does what is to be done now: since the rest began, other trouble may have come or gone. */
  #rested(): void {
    this.#resting = undefined;
    if (this.#settlingDenied) void this.#probeSettling();
    else if (this.trouble === 'drifted') void this.#recheck();
    else this.#events.retry();
  }

  #stopResting(): void {
    this.#resting?.cancel();
    this.#resting = undefined;
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
      | { type: 'source.refused'; description: string; refusedMs: number }
      | { type: 'source.denied'; operation: 'pull' | 'settle' | 'subscribe'; subject: string; retryMs: number }
      | { type: 'source.recovered' },
  ): void {
    this.#events.observe?.({ pipeline: this.#events.pipeline, ...this.#name(), ...event });
    const line = { pipeline: this.#events.pipeline, ...this.#name(), event: event.type, detail: this.detail };
    if (event.type === 'source.recovered') this.#events.log.info(line, 'source is back');
    else this.#events.log.warn(line, 'source in trouble');
  }
}
