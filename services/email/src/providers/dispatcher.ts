import { createBreaker, type BreakerSettings, type BreakerState, type ProviderBreaker } from './breaker.ts';
import type { OutgoingMail, SmtpTransport } from './transport.ts';
import type { Decision, Verdict } from './verdict.ts';

/** One attempt at one provider, for the span, the timeline and the metrics. */
export interface Tried {
  readonly provider: string;
  readonly verdict: Verdict;
  readonly durationMs: number;
}

/** What came of a dispatch: the verdict that decides, who gave it, and every attempt that led there. */
export type Dispatched =
  | {
      readonly kind: 'decided';
      readonly verdict: Decision;
      readonly provider: string;
      readonly tried: readonly Tried[];
    }
  /** No provider could be tried, or every one was out of reach: nothing was sent. */
  | { readonly kind: 'unavailable'; readonly tried: readonly Tried[] };

export interface Provider {
  readonly name: string;
  readonly transport: SmtpTransport;
}

export interface DispatcherObserver {
  attempted?(tried: Tried): void;
  breaker?(provider: string, state: BreakerState): void;
  /** The first provider did not decide and the next one is asked. */
  failedOver?(from: string, to: string): void;
}

/** Sends mails through the first provider that can take them. */
export interface Dispatcher {
  /**
   * Tries the providers in their order. The next one is asked only while it is certain that no provider has the mail:
   * after a broken connection or a 4xx, but never once the mail's end was sent.
   */
  dispatch(mail: OutgoingMail, signal: AbortSignal): Promise<Dispatched>;
  /** Whether a mail would be tried now. */
  readonly available: boolean;
  /** Resolves once one may be tried, or when the signal is aborted. */
  whenAvailable(signal: AbortSignal): Promise<void>;
  readonly states: readonly { readonly provider: string; readonly state: BreakerState }[];
  close(): void;
}

export function createDispatcher(
  providers: readonly Provider[],
  settings: BreakerSettings,
  observer: DispatcherObserver = {},
): Dispatcher {
  const waiting = new Set<() => void>();
  const guarded = providers.map(
    ({ name, transport }): { name: string; transport: SmtpTransport; breaker: ProviderBreaker } => ({
      name,
      transport,
      breaker: createBreaker(
        settings,
        () => transport.reachable(),
        (state) => {
          observer.breaker?.(name, state);
          if (state === 'open') return;
          for (const wake of waiting) wake();
        },
      ),
    }),
  );

  const dispatcher: Dispatcher = {
    get available() {
      return guarded.some(({ breaker }) => breaker.ready);
    },
    get states() {
      return guarded.map(({ name, breaker }) => ({ provider: name, state: breaker.state }));
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
    async dispatch(mail, signal) {
      const tried: Tried[] = [];
      // A provider that answered "later" decides over those that did not answer: the mail waits, the queue goes on.
      let later: { verdict: Decision; provider: string } | undefined;
      for (const { name: provider, transport, breaker } of guarded) {
        if (signal.aborted) break;
        const startedMs = performance.now();
        const last = tried.at(-1);
        const verdict = await breaker.attempt(() => {
          if (last !== undefined) observer.failedOver?.(last.provider, provider);
          return transport.send(mail, signal);
        });
        if (verdict === undefined) continue;
        const attempt: Tried = { provider, verdict, durationMs: performance.now() - startedMs };
        tried.push(attempt);
        observer.attempted?.(attempt);
        if (verdict.kind === 'unreachable') continue;
        if (verdict.kind === 'deferred' && !verdict.afterData) later ??= { verdict, provider };
        else return { kind: 'decided', verdict, provider, tried };
      }
      return later === undefined ? { kind: 'unavailable', tried } : { kind: 'decided', ...later, tried };
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
