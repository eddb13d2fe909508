import { describe } from 'vitest';
import { base, gate, recordEvents } from './source.ts';
import type { Job, Place, Row } from './source.ts';
import type { PipelineSpec, RunningPipeline } from '../index.ts';

const PARTITIONS = 4;
const KEYS = ['ann', 'bob', 'cid', 'dan', 'eve', 'fay', 'gus', 'hal'];
const options = { partitions: PARTITIONS };
/** A test that fails takes so long, one that passes no longer than it needs. */
const WITHIN = { timeout: 45_000 };

const partitioned = (place: Place): Omit<PipelineSpec<Job, undefined>, 'handle' | 'handleBatch' | 'batch' | 'use'> => ({
  ...base(place),
  sources: [
    { stream: place.stream, consumer: place.consumer, partitions: PARTITIONS, partitionBy: `${place.stream}.*` },
  ],
});
const heldBy = (...replicas: readonly RunningPipeline[]): readonly number[] =>
  replicas.flatMap((one) => one.health().partitions[0]?.held ?? []).toSorted((a, b) => a - b);
const ALL = [0, 1, 2, 3];
const sharesOf = (...replicas: readonly RunningPipeline[]): readonly number[] =>
  replicas.map((one) => one.snapshot().partitions);

/** One message for each key, numbered. */
async function send(place: Place, n: number): Promise<number[]> {
  const sequences: number[] = [];
  for (const key of KEYS) sequences.push(await place.store(JSON.stringify({ n, key }), { lane: key }));
  return sequences;
}

/** What the handlers of all replicas did, by key. */
function runLog(): {
  readonly numbers: ReadonlyMap<string, readonly number[]>;
  readonly overlaps: readonly string[];
  handle(job: Job, work: () => Promise<void>): Promise<void>;
} {
  const numbers = new Map<string, number[]>();
  const overlaps: string[] = [];
  const running = new Set<string>();
  return {
    numbers,
    overlaps,
    async handle({ n, key = '' }, work) {
      if (running.has(key)) overlaps.push(`${key} at ${n}`);
      running.add(key);
      try {
        await work();
        numbers.set(key, [...(numbers.get(key) ?? []), n]);
      } finally {
        running.delete(key);
      }
    },
  };
}
const pauseFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Order per key across replicas. */
export function partitionRows(row: Row): void {
  describe('a source with partitions', () => {
    row(
      'is read whole by one replica, in order per key, under the subjects that were published',
      async ({ place, start, expect }) => {
        const runs = runLog();
        const subjects = new Set<string>();
        for (const n of [1, 2, 3, 4, 5]) await send(place, n);
        const running = await start({
          ...partitioned(place),
          handle: async ({ data, subject, key, consumer }) => {
            subjects.add(subject);
            expect(subject).toBe(`${place.stream}.${key ?? ''}`);
            expect(consumer).toBe(place.consumer);
            await runs.handle(data, () => pauseFor(1));
          },
        });
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        expect(subjects).toEqual(new Set(KEYS.map((key) => `${place.stream}.${key}`)));
        for (const key of KEYS) expect(runs.numbers.get(key)).toEqual([1, 2, 3, 4, 5]);
        expect(runs.overlaps).toEqual([]);
        expect(heldBy(running)).toEqual(ALL);
        expect(running.health()).toMatchObject({ ok: true, partitions: [{ count: 4, unread: [], replicas: 1 }] });
      },
      options,
    );

    row(
      'is shared by replicas: one that joins gets its part, one that drains gives its own up',
      async ({ place, start, expect }) => {
        const runs = runLog();
        const handle = ({ data }: { data: Job }): Promise<void> => runs.handle(data, () => pauseFor(3));
        const spec = { ...partitioned(place), handle };
        const first = await start(spec);
        const sent = 30;
        const sending = (async () => {
          for (let n = 0; n < sent; n++) await send(place, n).then(() => pauseFor(20));
        })();
        await expect.poll(() => heldBy(first), WITHIN).toEqual(ALL);
        const second = await start(spec, undefined, await place.connect());
        const third = await start(spec, undefined, await place.connect());
        await expect.poll(() => sharesOf(first, second, third).toSorted((a, b) => a - b), WITHIN).toEqual([1, 1, 2]);
        expect(heldBy(first, second, third)).toEqual(ALL);
        const report = await first.drain();
        expect(report.abandoned).toBe(0);
        await expect.poll(() => sharesOf(second, third), WITHIN).toEqual([2, 2]);
        await sending;
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        expect(runs.overlaps).toEqual([]);
        for (const key of KEYS) expect(runs.numbers.get(key)).toEqual(Array.from({ length: sent }, (_, n) => n));
      },
      options,
    );

    row(
      'is lost by a replica that is cut off: its handlers are told, and nothing of it is settled there',
      async ({ place, start, expect }) => {
        const runs = runLog();
        const events = recordEvents();
        const stuck = gate();
        const reasons: unknown[] = [];
        await send(place, 1);
        const first = await start(
          {
            ...partitioned(place),
            flow: { ...base(place).flow, concurrency: 16 },
            // They are told to stop, and take their time.
            timeout: { handlerMs: 60_000, graceMs: 60_000 },
            handle: async (_, { signal }) => {
              signal.addEventListener('abort', () => reasons.push((signal.reason as { code?: string }).code));
              await stuck.opened;
            },
          },
          events.observe,
        );
        await expect.poll(() => first.snapshot().inFlight, WITHIN).toBe(KEYS.length);
        place.partition(true);
        const second = await start(
          { ...partitioned(place), handle: ({ data }) => runs.handle(data, () => pauseFor(1)) },
          undefined,
          await place.connect(),
        );
        await send(place, 2);
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        for (const key of KEYS) expect(runs.numbers.get(key)).toEqual([1, 2]);
        expect(heldBy(second)).toEqual(ALL);
        expect(reasons).toEqual(KEYS.map(() => 'PARTITION_LOST'));
        stuck.open();
        place.partition(false);
        await expect.poll(() => events.of('message.settled').length, WITHIN).toBe(KEYS.length);
        expect(events.of('message.settled').map(({ as }) => as)).toEqual(KEYS.map(() => 'released'));
        expect(new Set(events.of('partition.lost').map(({ partition }) => partition))).toEqual(
          new Set(events.of('partition.taken').map(({ partition }) => partition)),
        );
      },
      { ...options, pinTtlMs: 3000 },
    );

    row(
      'keeps the order of a key whose first message waits for its retry when the partition moves',
      async ({ place, start, expect }) => {
        const done: number[] = [];
        let failures = 0;
        const spec: PipelineSpec<Job, undefined> = {
          ...partitioned(place),
          retry: { maxAttempts: 5, baseMs: 60_000, maxMs: 60_000, jitter: 'none' },
          handle: async ({ data }) => {
            if (data.n === 1 && failures === 0) {
              failures++;
              throw new Error('the first time');
            }
            done.push(data.n);
          },
        };
        for (const n of [1, 2, 3]) await place.store(JSON.stringify({ n, key: 'ann' }), { lane: 'ann' });
        const first = await start(spec);
        await expect.poll(() => failures, WITHIN).toBe(1);
        await start(spec, undefined, await place.connect());
        await first.drain();
        await expect.poll(() => done, WITHIN).toEqual([1, 2, 3]);
      },
      options,
    );

    row(
      'is given up for a pause and taken again',
      async ({ place, start, expect }) => {
        const runs = runLog();
        const spec = {
          ...partitioned(place),
          handle: ({ data }: { data: Job }) => runs.handle(data, () => pauseFor(1)),
        };
        const first = await start(spec);
        await send(place, 1);
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        const second = await start(spec, undefined, await place.connect());
        await first.pause('stock-taking');
        await expect.poll(() => [heldBy(first), heldBy(second)], WITHIN).toEqual([[], ALL]);
        await send(place, 2);
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        first.resume();
        await expect.poll(() => sharesOf(first, second), WITHIN).toEqual([2, 2]);
        await send(place, 3);
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        for (const key of KEYS) expect(runs.numbers.get(key)).toEqual([1, 2, 3]);
        expect(runs.overlaps).toEqual([]);
      },
      options,
    );

    row(
      'explains a message with its partition, and dead-letters under the consumer of the spec',
      async ({ place, start, expect }) => {
        const stuck = gate();
        const [sequence = 0] = await send(place, 1);
        const later = await place.store('{"n":2,"key":"ann"}', { lane: 'ann' });
        const running = await start({
          ...partitioned(place),
          flow: { ...base(place).flow, concurrency: 16 },
          handle: async ({ data }) => {
            await stuck.opened;
            if (data.key === 'ann') return { kind: 'deadLetter', reason: 'no such customer' };
            return undefined;
          },
        });
        await expect.poll(() => running.explain(sequence).state, WITHIN).toBe('running');
        await expect.poll(() => running.explain(later).state, WITHIN).toBe('orderKeyBusy');
        const { partition } = running.explain(sequence);
        expect(ALL).toContain(partition);
        expect(running.explain(later).partition).toBe(partition);
        expect(running.explain(999_999)).toEqual({ state: 'notHeld' });
        expect(running.cancel(999_999)).toBe(false);
        stuck.open();
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        const letters = await place.deadLetters();
        expect(letters.map(({ subject }) => subject)).toEqual([
          `dlq.${place.stream}.${place.consumer}`,
          `dlq.${place.stream}.${place.consumer}`,
        ]);
        expect(letters[0]?.headers.get('Dlq-Subject')).toBe(`${place.stream}.ann`);
        expect(letters[0]?.headers.get('Nats-Pin-Id')).toBeUndefined();
      },
      options,
    );

    row(
      'takes a partition whose first message has headers that cannot be read',
      async ({ place, start, expect }) => {
        await place.storeForeign('Bad Name: x', '{"n":0}');
        const [sequence] = await send(place, 1);
        const done: number[] = [];
        await start({ ...partitioned(place), handle: async (message) => void done.push(message.sequence) });
        await expect.poll(() => place.left(), WITHIN).toBe(0);
        expect(done).toContain(sequence);
        expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'))).toEqual(['decode']);
      },
      options,
    );
  });
}
