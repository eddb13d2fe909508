import type { FollowOptions } from '@sluice/client';
import { useEffect, useState } from 'preact/hooks';

/** How a stream stands: `open`, `waiting` for the next attempt, or `over` once the server has said all. */
export type StreamState = 'waiting' | 'open' | 'over';

/** So long a page reads what comes before a click is answered in between. */
const TURN_MS = 8;

/**
 * Follows a live stream while the component is there.
 *
 * @param key what is followed; nothing while it is undefined.
 * @param open opens the stream of that key.
 * @param onValues called at most once per frame, with what came since.
 */
export function useStream<Value>(
  key: string | undefined,
  open: (options: FollowOptions) => AsyncIterable<Value>,
  onValues: (values: readonly Value[]) => void,
): StreamState {
  const [state, setState] = useState<StreamState>('waiting');
  useEffect(() => {
    setState('waiting');
    if (key === undefined) return undefined;
    const leaving = new AbortController();
    const { signal } = leaving;
    const waiting: Value[] = [];
    let frame = 0;
    const flush = (): void => {
      frame = 0;
      onValues(waiting.splice(0));
    };
    const follow = async (): Promise<void> => {
      const onConnection = (isOpen: boolean): void => {
        if (!signal.aborted) setState(isOpen ? 'open' : 'waiting');
      };
      let turnMs = performance.now();
      for await (const value of open({ signal, persist: true, onConnection })) {
        waiting.push(value);
        // Frames stand still in a hidden tab, and what waits for one must not pile up there.
        if (document.visibilityState === 'hidden') flush();
        else {
          if (frame === 0) frame = requestAnimationFrame(flush);
          if (performance.now() - turnMs > TURN_MS) {
            await new Promise((resolve) => setTimeout(resolve));
            turnMs = performance.now();
          }
        }
      }
    };
    // What is refused is shown by what is asked for beside the stream.
    void follow()
      .catch(() => undefined)
      .then(() => {
        if (!signal.aborted) setState('over');
      });
    return () => {
      cancelAnimationFrame(frame);
      leaving.abort();
    };
    // How it is opened and who listens belong to the key.
  }, [key]);
  return state;
}
