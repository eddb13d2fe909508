import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export interface Live<Value> {
  readonly value: Value | undefined;
  readonly problem: Error | undefined;
  /** Asks at once, out of turn: after a change that the reader made. */
  readonly refresh: () => void;
}

/**
 * Asks again and again while the page is visible. `key` names what is asked for: when it changes, what was known is
 * forgotten and an answer that is still on its way is dropped.
 *
 * @param everyMs 0 to ask once.
 */
export function useLive<Value>(key: string, ask: () => Promise<Value>, everyMs = 0): Live<Value> {
  const [known, setKnown] = useState<{ key: string; value?: Value; problem?: Error }>({ key });
  const [turn, setTurn] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asking = false;
    const look = async (): Promise<void> => {
      clearTimeout(timer);
      if (asking) return;
      asking = true;
      try {
        const value = await latest.current();
        if (!over) setKnown({ key, value });
      } catch (error) {
        const problem = errorOf(error);
        // What was shown stays: an answer of a moment ago is worth more than an empty page.
        if (!over) setKnown((before) => ({ ...(before.key === key ? before : {}), key, problem }));
      }
      asking = false;
      if (!over && everyMs > 0 && document.visibilityState === 'visible')
        timer = setTimeout(() => void look(), everyMs);
    };
    const seen = (): void => {
      if (document.visibilityState === 'visible') void look();
    };
    void look();
    if (everyMs > 0) document.addEventListener('visibilitychange', seen);
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [key, everyMs, turn]);
  const refresh = useCallback(() => setTurn((count) => count + 1), []);
  const current = known.key === key ? known : undefined;
  return { value: current?.value, problem: current?.problem, refresh };
}

/** What was thrown as what can be shown. */
export const errorOf = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** Runs one change at a time and tells how it stands: for buttons. */
export function useAction(): {
  readonly busy: boolean;
  readonly problem: Error | undefined;
  readonly run: (work: () => Promise<unknown>) => Promise<boolean>;
} {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Error>();
  const run = useCallback(async (work: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await work();
      return true;
    } catch (error) {
      setProblem(errorOf(error));
      return false;
    } finally {
      setBusy(false);
    }
  }, []);
  return { busy, problem, run };
}
