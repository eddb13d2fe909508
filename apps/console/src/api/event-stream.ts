import { useEffect, useState } from 'preact/hooks';

/** How a stream stands: `open`, `waiting` for the next attempt, or `over` once the server has said all. */
export type StreamState = 'waiting' | 'open' | 'over';

/**
 * Follows server-sent events while the component is there. The browser comes back by itself after a break and resumes
 * behind the last event; the gateway answers 204 when there is nothing more, which ends it.
 *
 * @param onEvents called at most once per frame with all that came: a thousand events draw the page once.
 */
export function useEventStream(
  url: string | undefined,
  names: readonly string[],
  onEvents: (events: readonly unknown[]) => void,
): StreamState {
  const [state, setState] = useState<StreamState>('waiting');
  useEffect(() => {
    setState('waiting');
    if (url === undefined) return undefined;
    const source = new EventSource(url);
    let waiting: unknown[] = [];
    let frame = 0;
    const flush = (): void => {
      frame = 0;
      const events = waiting;
      waiting = [];
      onEvents(events);
    };
    const listen = (message: MessageEvent<string>): void => {
      waiting.push(JSON.parse(message.data));
      // Frames stand still in a hidden tab, and what waits for one must not pile up there.
      if (document.visibilityState === 'hidden') flush();
      else if (frame === 0) frame = requestAnimationFrame(flush);
    };
    for (const name of names) source.addEventListener(name, listen as EventListener);
    source.addEventListener('open', () => setState('open'));
    source.addEventListener('error', () => setState(source.readyState === EventSource.CLOSED ? 'over' : 'waiting'));
    return () => {
      cancelAnimationFrame(frame);
      source.close();
    };
    // The names and the listener belong to the url.
  }, [url]);
  return state;
}
