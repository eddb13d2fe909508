import { CircuitState, circuitBreaker, CountBreaker, handleWhenResult } from 'cockatiel';

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

/** An attempt's result and whether it speaks against the provider. */
export interface Attempted<T> {
  readonly value: T;
  /** The server's words where they do; undefined where they do not. */
  readonly fault: string | undefined;
}

/** The circuit breaker of one provider. */
export interface ProviderBreaker {
  readonly state: BreakerState;
  /** The server's words at the last fault; empty when there was none. */
  readonly lastFault: string;
  /** Whether an attempt would be let through now. */
  readonly ready: boolean;
  /** Runs an attempt, or returns undefined at once when none is allowed now. */
  attempt<T>(run: () => Promise<Attempted<T>>): Promise<T | undefined>;
  close(): void;
}

/**
 * Makes a breaker that opens on provider faults alone: a refused recipient says nothing about the provider.
 *
 * @param probe opens a session with no mail at stake; resolves to what is wrong, or undefined.
 * @param onChange gets the last fault when the breaker opens.
 */
export function createBreaker(
  settings: BreakerSettings,
  probe: () => Promise<string | undefined>,
  onChange: (state: BreakerState, cause?: string) => void,
): ProviderBreaker {
  const policy = circuitBreaker(
    handleWhenResult((result) => (result as Attempted<unknown>).fault !== undefined),
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
  let lastFault = '';

  const scheduleProbe = (): void => {
    if (closed) return;
    timer = setTimeout(() => void runProbe(), waitMs);
    timer.unref();
    waitMs = Math.min(waitMs * 2, settings.probeAtMostMs);
  };
  const runProbe = async (): Promise<void> => {
    const wrong = await probe();
    lastFault = wrong ?? lastFault;
    probed = wrong === undefined;
    if (closed || policy.state === CircuitState.Closed) return;
    if (probed) onChange('half-open');
    else scheduleProbe();
  };
  const execute = async <T>(run: () => Promise<Attempted<T>>): Promise<T> => {
    const { value } = await policy.execute(async () => {
      const result = await run();
      lastFault = result.fault ?? lastFault;
      return result;
    });
    return value;
  };
  policy.onBreak(() => {
    probed = false;
    trying = false;
    onChange('open', lastFault);
    scheduleProbe();
  });
  policy.onReset(() => {
    probed = false;
    waitMs = settings.probeAfterMs;
    onChange('closed');
  });

  return {
    get state() {
      if (policy.state === CircuitState.Closed) return 'closed';
      return probed || trying ? 'half-open' : 'open';
    },
    get lastFault() {
      return lastFault;
    },
    get ready() {
      return policy.state === CircuitState.Closed || (probed && !trying);
    },
    async attempt(run) {
      if (policy.state === CircuitState.Closed) return execute(run);
      if (!probed || trying) return undefined;
      trying = true;
      try {
        return await execute(run);
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
