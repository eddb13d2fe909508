import { setTimeout as delay } from 'node:timers/promises';
import { jobKindEntries, type StreamName } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';

const LOOK_MS = 100;
const LOOKS = 100;
const RESULTS: StreamName = 'RESULTS';

/** Whether a consumer has handled every message of its stream up to a sequence. */
export async function isPast(bus: Bus, stream: StreamName, consumer: string, sequence: number): Promise<boolean> {
  const info = await bus.jsm.consumers.info(stream, consumer);
  // The floor does not move over messages that were deleted.
  return info.ack_floor.stream_seq >= sequence || info.num_pending + info.num_ack_pending === 0;
}

/**
 * Waits until every result and dead letter that is stored now was applied to its job. A worker publishes one of them
 * before it acknowledges its message, so after this a job whose work was gone before has its end, or never gets it.
 *
 * @returns false when they were not applied in time.
 */
export async function resultsAreApplied(bus: Bus, signal: AbortSignal): Promise<boolean> {
  const lastResult = (await bus.jsm.streams.info(RESULTS)).state.last_seq;
  const resultsApplied = async (): Promise<boolean> => {
    for (const [, { result }] of jobKindEntries) {
      const oldest = await bus.find(RESULTS, { oldestOf: result.channel.template });
      if (oldest !== undefined && oldest.sequence <= lastResult) return false;
    }
    return true;
  };
  if (!(await holds(resultsApplied, signal))) return false;
  // Read after the results: one that cannot be applied becomes a dead letter.
  const lastDead = (await bus.jsm.streams.info('DLQ')).state.last_seq;
  return holds(() => isPast(bus, 'DLQ', 'dead_letters', lastDead), signal);
}

async function holds(condition: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  for (let look = 0; look < LOOKS && !signal.aborted; look += 1) {
    if (await condition()) return true;
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}
