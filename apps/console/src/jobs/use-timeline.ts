import { isEnded, type TimelineEntry } from '@sluice/client';
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { sluiceOnce } from '../api/client.ts';
import { useStream } from '../api/use-stream.ts';
import { spanReader, type Span } from './spans.ts';

/** More events of one job are not kept in the page: the first and the last of them are. */
const MOST_EVENTS = 10_000;

export interface Timeline {
  /** Oldest first. */
  readonly entries: readonly TimelineEntry[];
  /** The same as work and waits, as of the last event. */
  readonly spans: readonly Span[];
  readonly ended: boolean;
}

/**
 * The events of a job, live.
 *
 * @param onChange called when the job has moved, so that what is shown besides is asked for at once.
 */
export function useTimeline(id: string | undefined, onChange: () => void = () => undefined): Timeline {
  const [entries, setEntries] = useState<readonly TimelineEntry[]>([]);
  const known = useRef({ entries, reader: spanReader() });
  useEffect(() => {
    known.current = { entries: [], reader: spanReader() };
    setEntries([]);
  }, [id]);
  const add = useCallback(
    (batches: readonly (readonly TimelineEntry[])[]) => {
      const events = batches.flat();
      known.current = grow(known.current, events);
      setEntries(known.current.entries);
      if (events.some(({ state }) => state !== undefined)) onChange();
    },
    [onChange],
  );
  useStream(id, (options) => sluiceOnce.jobs.watchBatches(id ?? '', options), add);
  const last = entries.findLast(({ state }) => state !== undefined);
  const ended = last?.state !== undefined && isEnded({ state: last.state });
  const spans = useMemo(() => known.current.reader.spans(Date.now(), ended), [entries, ended]);
  return { entries, spans, ended };
}

interface Known {
  readonly entries: readonly TimelineEntry[];
  readonly reader: ReturnType<typeof spanReader>;
}

/** Nearly always events come in the order of their time, and only what is new is read. */
function grow({ entries, reader }: Known, events: readonly TimelineEntry[]): Known {
  const all = [...entries, ...events];
  if (all.length <= MOST_EVENTS && isInOrder(all, entries.length)) {
    reader.add(events);
    return { entries: all, reader };
  }
  // Times are of one form, so their texts have their order.
  all.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const kept = all.length <= MOST_EVENTS ? all : [...all.slice(0, MOST_EVENTS / 2), ...all.slice(-MOST_EVENTS / 2)];
  const anew = spanReader();
  anew.add(kept);
  return { entries: kept, reader: anew };
}

function isInOrder(entries: readonly TimelineEntry[], from: number): boolean {
  for (let index = Math.max(1, from); index < entries.length; index += 1) {
    if ((entries[index]?.at ?? '') < (entries[index - 1]?.at ?? '')) return false;
  }
  return true;
}
