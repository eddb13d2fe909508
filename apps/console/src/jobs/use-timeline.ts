import { useCallback, useEffect, useState } from 'preact/hooks';
import { useEventStream } from '../api/event-stream.ts';
import { hasEnded, type TimelineEntry } from '../api/jobs.ts';

/** More events of one job are not kept in the page: the first and the last of them are. */
const MOST_EVENTS = 10_000;

/**
 * The events of a job, live, oldest first.
 *
 * @param onChange called when the job has moved, so that what is shown besides is asked for at once.
 */
export function useTimeline(
  id: string | undefined,
  onChange: () => void = () => undefined,
): { readonly entries: readonly TimelineEntry[]; readonly ended: boolean } {
  const [entries, setEntries] = useState<readonly TimelineEntry[]>([]);
  useEffect(() => setEntries([]), [id]);
  const add = useCallback(
    (raw: readonly unknown[]) => {
      const events = raw as readonly TimelineEntry[];
      setEntries((before) => {
        const all = [...before, ...events];
        // Times are of one form, so their texts have their order. Nearly always they come in it.
        if (!isInOrder(all, Math.max(1, before.length))) all.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
        return all.length <= MOST_EVENTS ? all : [...all.slice(0, MOST_EVENTS / 2), ...all.slice(-MOST_EVENTS / 2)];
      });
      if (events.some(({ state }) => state !== undefined)) onChange();
    },
    [onChange],
  );
  const url = id === undefined ? undefined : `/v1/jobs/${encodeURIComponent(id)}/stream`;
  useEventStream(url, ['state', 'lifecycle'], add);
  const last = entries.findLast(({ state }) => state !== undefined);
  return { entries, ended: last?.state !== undefined && hasEnded(last.state) };
}

const isInOrder = (entries: readonly TimelineEntry[], from: number): boolean =>
  entries.every((entry, index) => index < from || entry.at >= (entries[index - 1]?.at ?? ''));
