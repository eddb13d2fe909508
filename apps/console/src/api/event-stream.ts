import { useEffect, useState } from 'preact/hooks';
import { eventTextReader } from './event-text.ts';
import { toProblem } from './live.ts';
import { send } from './request.ts';

/** How a stream stands: `open`, `waiting` for the next attempt, or `over` once the server has said all. */
export type StreamState = 'waiting' | 'open' | 'over';

/** What a frame may spend on reading events: the others wait for the next one, and a click is answered in between. */
const FRAME_MS = 8;
/** So many are read in any frame, also where another process has the processor. */
const LEAST_PER_FRAME = 500;
/** From a break to the next attempt. */
const RETRY_MS = 1_000;

/**
 * Follows server-sent events while the component is there, and resumes behind the last one after a break; the gateway
 * answers 204 when there is nothing more, which ends it.
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
    const leaving = new AbortController();
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
    const take = (data: readonly string[]): void => {
      waiting.push(...data);
      // Frames stand still in a hidden tab, and what waits for one must not pile up there.
      if (document.visibilityState === 'hidden') flush();
      else flushSoon();
    };
    void follow(url, names, { take, tell: setState, signal: leaving.signal });
    return () => {
      cancelAnimationFrame(frame);
      leaving.abort();
    };
    // The names and the listener belong to the url.
  }, [url]);
  return state;
}

interface Follower {
  readonly take: (data: readonly string[]) => void;
  readonly tell: (state: StreamState) => void;
  readonly signal: AbortSignal;
}

/**
 * By `fetch` and not by `EventSource`, which makes an event of the page of each: of a job of 5,000 events that took longer
 * than to read and to draw them.
 */
async function follow(url: string, names: readonly string[], { take, tell, signal }: Follower): Promise<void> {
  let lastId: string | undefined;
  while (!signal.aborted) {
    let retryMs = RETRY_MS;
    try {
      const headers = { accept: 'text/event-stream', ...(lastId === undefined ? {} : { 'last-event-id': lastId }) };
      const answer = await send('GET', url, { headers, signal });
      if (answer.status === 204 || answer.body === null) return tell('over');
      tell('open');
      const read = eventTextReader();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        const events = read(piece.value).filter(({ name }) => names.includes(name));
        lastId = events.findLast(({ id }) => id !== undefined)?.id ?? lastId;
        if (events.length > 0) take(events.map(({ data }) => data));
      }
    } catch (error) {
      if (signal.aborted) return;
      const { status, retryAfterSeconds } = toProblem(error);
      // What is refused once is refused again.
      if (status >= 400 && status < 500 && status !== 429) return tell('over');
      if (retryAfterSeconds !== undefined) retryMs = retryAfterSeconds * 1_000;
    }
    if (signal.aborted) return;
    tell('waiting');
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}
