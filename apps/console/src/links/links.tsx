import { dataOf } from '@sluice/client';
import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { sluiceOnce } from '../api/client.ts';
import { useLive } from '../api/live.ts';
import { traceLinks, type Link, type TracedJob } from './trace-links.ts';

/**
 * Whether this browser gets an answer. Of another origin it learns no more than that; of its own it hears of a proxy that
 * finds nothing behind it.
 */
async function answers(url: string): Promise<boolean> {
  const isOwn = new URL(url, location.href).origin === location.origin;
  try {
    const signal = AbortSignal.timeout(3_000);
    // Not the API, which is asked by its client.
    // oxlint-disable-next-line no-restricted-globals
    const answer = await fetch(url, { mode: isOwn ? 'same-origin' : 'no-cors', signal });
    return !isOwn || answer.status < 400;
  } catch {
    return false;
  }
}

const EVERY_MS = 30_000;

/** The pages beside the console that answer: mail, traces, dashboards, the description of the API. */
export function useLinks(): readonly Link[] {
  const links = useLive('links', () => dataOf(sluiceOnce.api.GET('/v1/links')));
  const [alive, setAlive] = useState<readonly Link[]>([]);
  useEffect(() => {
    let over = false;
    const look = async (): Promise<void> => {
      const all = links.value?.links ?? [];
      const found = await Promise.all(all.map(({ url }) => answers(url)));
      if (!over) setAlive(all.filter((_, index) => found[index]));
    };
    void look();
    const timer = setInterval(() => void look(), EVERY_MS);
    return () => {
      over = true;
      clearInterval(timer);
    };
  }, [links.value]);
  return alive;
}

const none: readonly Link[] = [];
export const LinksContext = createContext(none);

/** Where the trace and the log of a job can be read, of what answers. */
export const useTraceLinks = (job: TracedJob): readonly Link[] => traceLinks(useContext(LinksContext), job);
