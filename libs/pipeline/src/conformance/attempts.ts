import { describe } from 'vitest';
import type { AttemptRecord, AttemptStore, PipelineSpec } from '../index.ts';
import { base, gate, recordEvents, wasteDeliveries } from './source.ts';
import type { Job, Row, RowContext } from './source.ts';

/** Failed runs are counted apart from deliveries and from crashes. */
export function attemptRows(row: Row): void {
  describe('a message was delivered more than maxAttempts times', () => {
    row('its handler gets a run: deliveries are not attempts', async ({ place, start, expect }) => {
      await place.send({ n: 1 });
      await wasteDeliveries(place, 9);
      const seen: unknown[] = [];
      await start({
        ...base(place),
        handle: async ({ attempt, deliveries }) => void seen.push([attempt, deliveries]),
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(seen).toEqual([[3, 10]]);
      expect(await place.deadLetters()).toEqual([]);
    });

    row('paused before it started, again and again, it keeps all its attempts', async ({ place, start, expect }) => {
      const events = recordEvents();
      const working = gate();
      const attempts: number[] = [];
      await place.send({ n: 1 }, { n: 2 });
      const running = await start(
        {
          ...base(place),
          flow: { ...base(place).flow, concurrency: 1, prefetch: 4 },
          handle: async ({ data, attempt }) => {
            if (data.n === 1) await working.opened;
            else {
              attempts.push(attempt);
              throw new Error('always');
            }
          },
        },
        events.observe,
      );
      for (let round = 1; round <= 4; round++) {
        await expect.poll(() => running.snapshot().buffered).toBe(1);
        void running.pause('again');
        await expect.poll(() => events.of('message.settled').filter(({ as }) => as === 'released').length).toBe(round);
        running.resume();
      }
      await expect.poll(() => running.snapshot().buffered).toBe(1);
      working.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(attempts).toEqual([1, 2, 3]);
      const [record] = await place.deadLetters();
      expect(record?.headers.get('Dlq-Reason')).toBe('exhausted');
      expect(record?.headers.get('Dlq-Attempts')).toBe('3');
    });

    row('with an attempt store failures count over replicas, unrun deliveries never', async (context) => {
      const { place, start, expect } = context;
      const records = new Map<string, AttemptRecord>();
      const store: AttemptStore = {
        read: async (key) => records.get(key),
        write: async (key, record) => void records.set(key, record),
        remove: async (key) => void records.delete(key),
      };
      const attempts: number[] = [];
      const spec: PipelineSpec<Job, undefined> = {
        ...base(place),
        // Long enough for the first process to end before the second run.
        retry: { maxAttempts: 3, baseMs: 1_500, maxMs: 1_500, jitter: 'none' },
        attempts: { store },
        handle: async ({ attempt }) => {
          attempts.push(attempt);
          throw new Error('always');
        },
      };
      await place.send({ n: 1 });
      await wasteDeliveries(place, 5);
      const one = await start(spec);
      await expect.poll(() => attempts.length).toBe(1);
      await one.drain();
      await start(spec, undefined, await place.connect());
      await expect.poll(() => place.left()).toBe(0);
      expect(attempts).toEqual([1, 2, 3]);
      await expect.poll(() => records.size).toBe(0);
    });

    row('a run that began and never ended is a crash, and too many of them a crash loop', async (context) => {
      const { place, start, expect } = context;
      let record: AttemptRecord = { failed: 0, crashed: 1, running: true };
      const store: AttemptStore = {
        read: async () => record,
        write: async (_, next) => {
          record = next;
        },
        remove: async () => undefined,
      };
      let calls = 0;
      await place.send({ n: 1 });
      await wasteDeliveries(place, 1);
      await start({ ...base(place), attempts: { store, maxCrashes: 2 }, handle: async () => void calls++ });
      await expect.poll(() => place.left()).toBe(0);
      const [letter] = await place.deadLetters();
      expect(letter?.headers.get('Dlq-Reason')).toBe('crashLoop');
      expect(calls).toBe(0);
    });

    row('without a store one that was sent back again and again is no crash loop', async (context) => {
      const { place, expect } = context;
      await place.send({ n: 1 });
      await wasteDeliveries(place, 5);
      expect(await callsWithoutStore(context)).toBe(1);
      expect(await place.deadLetters()).toEqual([]);
    });

    const ended = 'without a store a message that ended too many processes is a crash loop';
    const crashing = async (context: RowContext): Promise<void> => {
      const { place, expect } = context;
      await place.send({ n: 1 });
      await wasteDeliveries(place, 3, () => undefined);
      expect(await callsWithoutStore(context)).toBe(0);
      const [record] = await place.deadLetters();
      expect(record?.headers.get('Dlq-Reason')).toBe('crashLoop');
      expect(record?.headers.get('Dlq-Deliveries')).toBe('4');
    };
    row(ended, crashing, { ackWaitMs: 1000 });
  });
}

/** How often the handler ran until nothing was left, with three unknown deliveries allowed. */
async function callsWithoutStore({ place, start, expect }: RowContext): Promise<number> {
  let calls = 0;
  await start({
    ...base(place),
    retry: { ...base(place).retry, maxUnknownDeliveries: 3 },
    handle: async () => {
      calls++;
    },
  });
  await expect.poll(() => place.left()).toBe(0);
  return calls;
}
