import { useEffect, useState } from 'preact/hooks';

/** How a stream stands: `open`, `waiting` for the next attempt, or `over` once the server has said all. */
export type StreamState = 'waiting' | 'open' | 'over';

/** Events that are read and drawn in one frame: thousands at once would hold the page up. */
const MOST_PER_FRAME = 1_000;
/** After many events the page is left alone for so long, so that a history of thousands is drawn a few times. */
const PAUSE_MS = 100;
const MANY = 50;

/**
 * Follows server-sent events while the component is there. The browser comes back by itself after a break and resumes
 * behind the last event; the gateway answers 204 when there is nothing more, which ends it.
 *
 * @param onEvents called at most once per frame with all that came, and less often while events come by the hundred.
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
    let pause: ReturnType<typeof setTimeout> | undefined;
    const flush = (): void => {
      frame = 0;
      const texts = waiting.splice(0, MOST_PER_FRAME);
      onEvents(texts.map((text) => JSON.parse(text) as unknown));
      if (texts.length >= MANY || waiting.length > 0) pause = setTimeout(resume, PAUSE_MS);
    };
    const flushSoon = (): void => {
      if (frame === 0 && pause === undefined) frame = requestAnimationFrame(flush);
    };
    const resume = (): void => {
      pause = undefined;
      if (waiting.length > 0) flushSoon();
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
      clearTimeout(pause);
      source.close();
    };
    // The names and the listener belong to the url.
  }, [url]);
  return state;
}
