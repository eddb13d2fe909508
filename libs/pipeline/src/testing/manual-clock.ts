import type { Clock, Timer } from '../clock.ts';

/** A clock that stands still until it is told to move. */
export interface ManualClock extends Clock {
  /** Moves on, running every timer that comes due at its own time, in order, with all promises in between. */
  advance(ms: number): Promise<void>;
  /** Lets everything happen that needs no time. */
  settle(): Promise<void>;
}

interface Entry {
  at: number;
  readonly order: number;
  readonly everyMs: number | undefined;
  readonly run: () => void;
}

const START_WALL = Date.UTC(2026, 0, 1);
/** One real turn of the event loop: every promise chain that can run, runs. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Makes one that begins at 2026-01-01. Real I/O of a handler takes no time on it. */
export function manualClock(): ManualClock {
  let now = 0;
  let order = 0;
  let soon: (() => void)[] = [];
  const timers = new Set<Entry>();
  const add = (ms: number, run: () => void, everyMs: number | undefined): Timer => {
    const entry: Entry = { at: now + ms, order: order++, everyMs, run };
    timers.add(entry);
    return { cancel: () => void timers.delete(entry) };
  };
  const settle = async (): Promise<void> => {
    for (let quiet = 0; quiet < 2;) {
      await turn();
      const due = soon;
      soon = [];
      for (const run of due) run();
      quiet = due.length === 0 ? quiet + 1 : 0;
    }
  };
  return {
    now: () => now,
    wall: () => START_WALL + now,
    after: (ms, run) => add(ms, run, undefined),
    every: (ms, run) => add(ms, run, ms),
    soon: (run) => void soon.push(run),
    settle,
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        const [next] = [...timers]
          .filter((entry) => entry.at <= end)
          .toSorted((a, b) => a.at - b.at || a.order - b.order);
        if (next === undefined) break;
        now = Math.max(now, next.at);
        if (next.everyMs === undefined) timers.delete(next);
        else next.at += next.everyMs;
        next.run();
        await settle();
      }
      now = end;
    },
  };
}
