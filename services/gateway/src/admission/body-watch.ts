/** How fast a body has to arrive. */
export interface ProgressRule {
  readonly windowMs: number;
  /** In every window, unless that is more than what is left of the body. */
  readonly minBytesPerWindow: number;
}

/** A body that is arriving. */
export interface WatchedBody {
  /** Bytes that have arrived, of this body or of its connection. */
  readonly received: () => number;
  /** False while bytes that have arrived wait to be read: then it is the reader that is slow, not the client. */
  readonly isWaiting: () => boolean;
  /** Called once, when too little has arrived within a window. The body is not watched any more then. */
  readonly onStall: () => void;
}

interface Entry extends WatchedBody {
  sinceMs: number;
  before: number;
}

const LOOKS_PER_WINDOW = 4;

/**
 * Finds bodies that have stopped arriving. A limit on the whole time of a request would refuse a large body on a slow
 * line; this one refuses only what stands still, up to a quarter of a window late. One timer looks at all of them.
 */
export class BodyWatch {
  readonly #rule: ProgressRule;
  readonly #now: () => number;
  readonly #open = new Set<Entry>();
  readonly #timer: NodeJS.Timeout;

  /** `now` gives milliseconds that only grow. */
  constructor(rule: ProgressRule, now: () => number = () => performance.now()) {
    this.#rule = rule;
    this.#now = now;
    this.#timer = setInterval(() => this.look(), rule.windowMs / LOOKS_PER_WINDOW);
    this.#timer.unref();
  }

  /** Watches a body until the returned function is called. */
  watch(body: WatchedBody): () => void {
    const entry: Entry = { ...body, sinceMs: this.#now(), before: body.received() };
    this.#open.add(entry);
    return () => void this.#open.delete(entry);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#open.clear();
  }

  /** Looks at every body. The timer does so by itself. */
  look(): void {
    const nowMs = this.#now();
    for (const entry of this.#open) {
      const received = entry.received();
      if (!entry.isWaiting() || received - entry.before >= this.#rule.minBytesPerWindow) {
        entry.sinceMs = nowMs;
        entry.before = received;
      } else if (nowMs - entry.sinceMs >= this.#rule.windowMs) {
        this.#open.delete(entry);
        entry.onStall();
      }
    }
  }
}
