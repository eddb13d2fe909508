import type { BreakerSettings } from './breaker.ts';

/** What is known of one destination domain while it fails. A success removes it. */
interface Failing {
  faults: number;
  /** While it is open: when one mail may try. */
  retryAt: number | undefined;
  waitMs: number;
  trying: boolean;
  /** The server's words. */
  fault: string;
}

/** Domains remembered at once, at most; the one that failed longest ago makes room. */
const MAX_DOMAINS = 10_000;
/** So many domains failing at once are the provider's trouble, not theirs. */
const PROVIDER_TROUBLE = 3;

/**
 * The circuit breakers of one provider's destination domains: one domain that hangs or refuses must not stop mail to
 * the others. A domain opens after faults in a row; then one mail tries after a wait that doubles.
 */
export class DomainBreakers {
  readonly #failing = new Map<string, Failing>();
  readonly #settings: BreakerSettings;
  readonly #now: () => number;

  constructor(settings: BreakerSettings, now: () => number = Date.now) {
    this.#settings = settings;
    this.#now = now;
  }

  /** Domains that are not tried now. */
  get open(): number {
    let open = 0;
    for (const { retryAt } of this.#failing.values()) if (retryAt !== undefined) open += 1;
    return open;
  }

  /** Whether so many domains fail that the provider itself must be in trouble. */
  get providerTrouble(): boolean {
    return this.#failing.size >= PROVIDER_TROUBLE;
  }

  /** 0 when a mail to the domain may be tried now, or how long to wait. */
  waitMs(domain: string): number {
    const failing = this.#failing.get(domain);
    if (failing?.retryAt === undefined) return 0;
    // While one mail tries, the others look again when it must have ended.
    if (failing.trying) return failing.waitMs;
    return Math.max(0, failing.retryAt - this.#now());
  }

  /** A mail to the domain is being tried. */
  started(domain: string): void {
    const failing = this.#failing.get(domain);
    if (failing?.retryAt !== undefined) failing.trying = true;
  }

  /** The server's words at the last fault; empty when there was none. */
  lastFault(domain: string): string {
    return this.#failing.get(domain)?.fault ?? '';
  }

  /**
   * A mail to the domain was tried.
   *
   * @param fault the server's words when they speak against the provider's way to the domain.
   * @returns true when this fault opened the domain.
   */
  ended(domain: string, fault: string | undefined): boolean {
    const failing = this.#failing.get(domain);
    if (fault === undefined) {
      this.#failing.delete(domain);
      return false;
    }
    const { minAttempts, probeAfterMs, probeAtMostMs } = this.#settings;
    const faults = (failing?.faults ?? 0) + 1;
    const wasOpen = failing?.retryAt !== undefined;
    const opens = faults >= minAttempts;
    const waitMs = wasOpen ? Math.min(failing.waitMs * 2, probeAtMostMs) : probeAfterMs;
    // Deleted first: a map keeps the order of insertion, and the longest untouched is the first.
    this.#failing.delete(domain);
    const retryAt = opens ? this.#now() + waitMs : undefined;
    this.#failing.set(domain, { faults, retryAt, waitMs, trying: false, fault });
    if (this.#failing.size > MAX_DOMAINS) this.#failing.delete(this.#failing.keys().next().value ?? domain);
    return opens && !wasOpen;
  }
}
