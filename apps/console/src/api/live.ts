import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiProblem } from './problem.ts';

export interface Live<Value> {
  readonly value: Value | undefined;
  readonly problem: ApiProblem | undefined;
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
  const [known, setKnown] = useState<{ key: string; value?: Value; problem?: ApiProblem }>({ key });
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
        const problem = toProblem(error);
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

/** An error of any kind as a problem that can be shown. */
export const toProblem = (error: unknown): ApiProblem =>
  error instanceof ApiProblem
    ? error
    : new ApiProblem(error instanceof Error ? error.message : String(error), { code: 'page_error' });

/** Runs one change at a time and tells how it stands: for buttons. */
export function useAction(): {
  readonly busy: boolean;
  readonly problem: ApiProblem | undefined;
  readonly run: (work: () => Promise<unknown>) => Promise<boolean>;
} {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ApiProblem>();
  const run = useCallback(async (work: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await work();
      return true;
    } catch (error) {
      setProblem(toProblem(error));
      return false;
    } finally {
      setBusy(false);
    }
  }, []);
  return { busy, problem, run };
}
