import { useEffect, useState } from 'preact/hooks';

/** How a stream stands: `open`, `waiting` for the next attempt, or `over` once the server has said all. */
export type StreamState = 'waiting' | 'open' | 'over';

/** What a frame may spend on reading events: the others wait for the next one, and a click is answered in between. */
const FRAME_MS = 8;
/** So many are read in any frame, also where another process has the processor. */
const LEAST_PER_FRAME = 500;

/**
 * Follows server-sent events while the component is there. The browser comes back by itself after a break and resumes
 * behind the last event; the gateway answers 204 when there is nothing more, which ends it.
 *
 * @param onEvents called at most once per frame, with what can be read in a part of it.
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
    const waiting: string[] = [];
    let frame = 0;
    const flush = (): void => {
      frame = 0;
      const events: unknown[] = [];
      const untilMs = performance.now() + FRAME_MS;
      for (const text of waiting) {
        if (events.length >= LEAST_PER_FRAME && performance.now() > untilMs) break;
        events.push(JSON.parse(text));
      }
      waiting.splice(0, events.length);
      onEvents(events);
      if (waiting.length > 0) flushSoon();
    };
    const flushSoon = (): void => {
      if (frame === 0) frame = requestAnimationFrame(flush);
    };
    const listen = (message: MessageEvent<string>): void => {
      waiting.push(message.data);
      // Frames stand still in a hidden tab, and what waits for one must not pile up there.
      if (document.visibilityState === 'hidden') flush();
      else flushSoon();
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
