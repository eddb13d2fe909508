import { setTimeout as delay } from 'node:timers/promises';
import { lifetimes, scaledMs } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import type { ReadModel, Usage } from './read-model.ts';

const EVERY_MS = scaledMs(60_000, 2_000);
/** Jobs that one transaction deletes, and the pause after it: questions are answered between them. */
const STEP = 500;
const STEP_PAUSE_MS = 50;
/** Steps of one run: a bound that was lowered by far is reached over several runs. */
const MOST_STEPS = 1_000;

export interface RetentionSettings {
  /** How long an ended job is kept. */
  readonly ttlMs: number;
  /** Bytes beyond which the oldest ended jobs go before their time. */
  readonly maxBytes: number;
}

export const defaultRetention: RetentionSettings = { ttlMs: lifetimes.history, maxBytes: 4 * 2 ** 30 };

export interface Retention {
  /** What the read model held when it was last looked at. */
  usage(): Usage | undefined;
  /** That jobs go before their time, because of the bytes; undefined while none do. */
  problem(): string | undefined;
  /** One run, for those who do not wait for the next one. */
  run(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Deletes ended jobs when their time is over, a step at a time. By the earlier of two clocks, this machine's and the
 * broker's: one that jumps ahead deletes nothing.
 */
export function startRetention(
  model: Pick<ReadModel, 'prune' | 'usage'>,
  { ttlMs, maxBytes }: RetentionSettings,
  { log, now, brokerNow }: { log: Logger; now: () => number; brokerNow: () => number },
): Retention {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<unknown> => delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
  let usage: Usage | undefined;
  let problem: string | undefined;

  /** Deletes step by step until nothing is left to delete or `enough` says so, and returns how much went. */
  async function prune(beforeMs: number, enough: () => Promise<boolean>): Promise<number> {
    let deleted = 0;
    for (let step = 0; step < MOST_STEPS && !signal.aborted && !(await enough()); step += 1) {
      const count = await model.prune(beforeMs, STEP);
      deleted += count;
      if (count < STEP) break;
      await pause(STEP_PAUSE_MS);
    }
    return deleted;
  }

  async function run(): Promise<void> {
    const beforeMs = Math.min(now(), brokerNow()) - ttlMs;
    if (Number.isFinite(beforeMs)) await prune(beforeMs, async () => false);
    const early = await prune(Infinity, async () => (usage = await model.usage()).bytes <= maxBytes);
    problem =
      early > 0 || (usage?.bytes ?? 0) > maxBytes
        ? `the history has reached HISTORY_MAX_BYTES (${maxBytes}): ended jobs go before HISTORY_TTL_MS is over`
        : undefined;
    if (problem !== undefined) log.warn({ deleted: early, ...usage }, problem);
  }

  const running = (async () => {
    while (!signal.aborted) {
      await run().catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, 'the history could not be pruned and is pruned again');
      });
      await pause(EVERY_MS);
    }
  })();

  return {
    usage: () => usage,
    problem: () => problem,
    run,
    async close() {
      stopping.abort();
      await running;
    },
  };
}
