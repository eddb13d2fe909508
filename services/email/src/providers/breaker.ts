import { CircuitState, circuitBreaker, CountBreaker, handleWhenResult } from 'cockatiel';
import { isProviderFault, type Verdict } from './verdict.ts';

export interface BreakerSettings {
  /** Attempts looked back on. */
  readonly window: number;
  /** Attempts there must be before the share counts. */
  readonly minAttempts: number;
  /** Share of provider faults that opens. */
  readonly faultShare: number;
  /** First wait before an open provider is probed; doubles per failed probe. */
  readonly probeAfterMs: number;
  readonly probeAtMostMs: number;
}

export const defaultBreaker: BreakerSettings = {
  window: 20,
  minAttempts: 5,
  faultShare: 0.5,
  probeAfterMs: 1_000,
  probeAtMostMs: 30_000,
};

/**
 * - `closed`: mails go through; faults are counted.
 * - `open`: no mail is tried. After a wait a session is opened and closed without a mail; until that works, it waits
 *   again, longer each time. When it works: `half-open`.
 * - `half-open`: one mail may try, the others keep away. It leads to `closed`, or back to `open`.
 */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** The circuit breaker of one provider. */
export interface ProviderBreaker {
  readonly state: BreakerState;
  /** Whether an attempt would be let through now. */
  readonly ready: boolean;
  /** Runs an attempt, or returns undefined at once when none is allowed now. */
  attempt(run: () => Promise<Verdict>): Promise<Verdict | undefined>;
  close(): void;
}

/**
 * Makes a breaker that opens on provider faults alone: a refused recipient says nothing about the provider.
 *
 * @param reachable probes the provider with no mail at stake.
 */
export function createBreaker(
  settings: BreakerSettings,
  reachable: () => Promise<boolean>,
  onChange: (state: BreakerState) => void,
): ProviderBreaker {
  const policy = circuitBreaker(
    handleWhenResult((verdict) => isProviderFault(verdict as Verdict)),
    {
      breaker: new CountBreaker({
        threshold: settings.faultShare,
        size: settings.window,
        minimumNumberOfCalls: settings.minAttempts,
      }),
      // The probe decides when, not the policy's clock.
      halfOpenAfter: 0,
    },
  );
  let probed = false;
  let trying = false;
  let waitMs = settings.probeAfterMs;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const state = (): BreakerState => {
    if (policy.state === CircuitState.Closed) return 'closed';
    return probed || trying ? 'half-open' : 'open';
  };
  const scheduleProbe = (): void => {
    if (closed) return;
    timer = setTimeout(() => void probe(), waitMs);
    timer.unref();
    waitMs = Math.min(waitMs * 2, settings.probeAtMostMs);
  };
  const probe = async (): Promise<void> => {
    probed = await reachable();
    if (closed || policy.state === CircuitState.Closed) return;
    if (probed) onChange('half-open');
    else scheduleProbe();
  };
  policy.onBreak(() => {
    probed = false;
    trying = false;
    onChange('open');
    scheduleProbe();
  });
  policy.onReset(() => {
    probed = false;
    waitMs = settings.probeAfterMs;
    onChange('closed');
  });

  return {
    get state() {
      return state();
    },
    get ready() {
      return policy.state === CircuitState.Closed || (probed && !trying);
    },
    async attempt(run) {
      if (policy.state === CircuitState.Closed) return policy.execute(run);
      if (!probed || trying) return undefined;
      trying = true;
      try {
        return await policy.execute(run);
      } finally {
        trying = false;
      }
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
