import { createBreaker, type BreakerSettings, type BreakerState, type ProviderBreaker } from './breaker.ts';
import { DomainBreakers } from './domain-breakers.ts';
import type { OutgoingMail } from './outgoing-mail.ts';
import type { MailTransport } from './mail-transport.ts';
import { faultOf, type Decision, type Verdict } from './verdict.ts';

/** One attempt at one provider, for the span, the timeline and the metrics. */
export interface Tried {
  readonly provider: string;
  readonly verdict: Verdict;
  readonly durationMs: number;
}

/** What came of a dispatch, and every attempt that led there. */
export type Dispatched =
  /** The verdict that decides, and who gave it. */
  | {
      readonly kind: 'decided';
      readonly verdict: Decision;
      readonly provider: string;
      readonly tried: readonly Tried[];
    }
  /** No provider could be tried, or every one was out of reach: nothing was sent. */
  | { readonly kind: 'unavailable'; readonly tried: readonly Tried[] }
  /** Providers take mail, but not to this domain now: nothing was sent. */
  | {
      readonly kind: 'domainUnavailable';
      readonly retryAfterMs: number;
      readonly lastFault: string;
      readonly tried: readonly Tried[];
    };

export interface Provider {
  readonly name: string;
  readonly transport: MailTransport;
}

export interface DispatcherObserver {
  attempted?(tried: Tried): void;
  /** `cause` is the server's words when the breaker opened. */
  breaker?(provider: string, state: BreakerState, cause?: string): void;
  /** A provider is left alone for one destination domain. */
  domainOpened?(provider: string, domain: string, cause: string): void;
  /** A provider did not decide and the next one is asked. */
  failedOver?(from: string, to: string): void;
}

/** Replies of providers that refused a mail for good: they are not asked for it again. */
export type Refusals = Map<string, Extract<Verdict, { readonly kind: 'refused' }>>;

/** Sends mails through the first provider that can take them. */
export interface Dispatcher {
  /**
   * Tries the providers in their order. The next one is asked only while it is certain that no provider has the mail:
   * after a broken connection, a 4xx or a refusal of this side, but never once the mail's end was sent and unanswered.
   *
   * @param refusals of earlier dispatches of this mail; new ones are added.
   */
  dispatch(mail: OutgoingMail, signal: AbortSignal, refusals?: Refusals): Promise<Dispatched>;
  /** Whether any provider takes mail now. */
  readonly available: boolean;
  /** Resolves once one does, or when the signal is aborted. */
  whenAvailable(signal: AbortSignal): Promise<void>;
  readonly states: readonly {
    readonly provider: string;
    readonly state: BreakerState;
    readonly openDomains: number;
    /** The server's words at the last fault; empty when there was none. */
    readonly lastFault: string;
  }[];
  close(): void;
}

interface Guarded {
  readonly name: string;
  readonly transport: MailTransport;
  readonly breaker: ProviderBreaker;
  readonly domains: DomainBreakers;
}

export function createDispatcher(
  providers: readonly Provider[],
  settings: BreakerSettings,
  observer: DispatcherObserver = {},
): Dispatcher {
  const waiting = new Set<() => void>();
  const guarded = providers.map(({ name, transport }): Guarded => ({
    name,
    transport,
    domains: new DomainBreakers(settings),
    breaker: createBreaker(
      settings,
      () => transport.probe(),
      (state, cause) => {
        observer.breaker?.(name, state, cause);
        if (state === 'open') return;
        for (const wake of waiting) wake();
      },
    ),
  }));

  /** One attempt, or undefined when the provider's breaker allows none. */
  const attempt = (
    { name, transport, breaker, domains }: Guarded,
    mail: OutgoingMail,
    signal: AbortSignal,
  ): Promise<Verdict | undefined> =>
    breaker.attempt(async () => {
      const domain = domainOf(mail);
      domains.started(domain);
      const verdict = await transport.send(mail, signal).catch((error: unknown) => {
        // The trial of an open domain ends either way, or no mail to it would be tried again.
        domains.ended(domain, String(error));
        throw error;
      });
      const fault = faultOf(verdict);
      const { reply } = verdict;
      if (domains.ended(domain, fault === 'domain' ? reply : undefined)) observer.domainOpened?.(name, domain, reply);
      const counts = fault === 'provider' || (fault === 'domain' && domains.providerTrouble);
      return { value: verdict, fault: counts ? reply : undefined };
    });

  const dispatcher: Dispatcher = {
    get available() {
      return guarded.some(({ breaker }) => breaker.ready);
    },
    get states() {
      return guarded.map(({ name, breaker, domains }) => ({
        provider: name,
        state: breaker.state,
        openDomains: domains.open,
        lastFault: breaker.lastFault,
      }));
    },
    whenAvailable: (signal) =>
      new Promise((resolve) => {
        if (dispatcher.available || signal.aborted) return resolve();
        const wake = (): void => {
          waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        waiting.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      }),
    async dispatch(mail, signal, refusals = new Map()) {
      const tried: Tried[] = [];
      // A provider that answered "later" decides over those that did not answer: the mail waits, the queue goes on.
      let later: { verdict: Decision; provider: string } | undefined;
      let domainWaitMs = Number.POSITIVE_INFINITY;
      for (const provider of guarded) {
        if (signal.aborted) break;
        const { name } = provider;
        if (refusals.has(name)) continue;
        const waitMs = provider.breaker.ready ? provider.domains.waitMs(domainOf(mail)) : 0;
        if (waitMs > 0) {
          domainWaitMs = Math.min(domainWaitMs, waitMs);
          continue;
        }
        const startedMs = performance.now();
        const last = tried.at(-1);
        if (last !== undefined && provider.breaker.ready) observer.failedOver?.(last.provider, name);
        const verdict = await attempt(provider, mail, signal);
        if (verdict === undefined) continue;
        const attempted: Tried = { provider: name, verdict, durationMs: performance.now() - startedMs };
        tried.push(attempted);
        observer.attempted?.(attempted);
        if (verdict.kind === 'unreachable') {
          const openedMs = provider.domains.waitMs(domainOf(mail));
          if (openedMs > 0) domainWaitMs = Math.min(domainWaitMs, openedMs);
          continue;
        }
        if (verdict.kind === 'refused') refusals.set(name, verdict);
        else if (verdict.kind === 'deferred' && !verdict.afterData) later ??= { verdict, provider: name };
        else return { kind: 'decided', verdict, provider: name, tried };
      }
      if (later !== undefined) return { kind: 'decided', ...later, tried };
      const [refusal] = refusals;
      if (refusal !== undefined && refusals.size === guarded.length) {
        return { kind: 'decided', provider: refusal[0], verdict: refusal[1], tried };
      }
      if (domainWaitMs < Number.POSITIVE_INFINITY) {
        const faults = guarded.map(({ name, domains }) => ({ name, fault: domains.lastFault(domainOf(mail)) }));
        const lastFault = faults.flatMap(({ name, fault }) => (fault === '' ? [] : [`${name}: ${fault}`])).join('; ');
        return { kind: 'domainUnavailable', retryAfterMs: domainWaitMs, lastFault, tried };
      }
      return { kind: 'unavailable', tried };
    },
    close() {
      for (const { breaker, transport } of guarded) {
        breaker.close();
        transport.close();
      }
    },
  };
  return dispatcher;
}

const domainOf = ({ to }: OutgoingMail): string => to.slice(to.lastIndexOf('@') + 1);
