import { describe } from 'vitest';
import { memoryIdempotencyStore } from '../index.ts';
import type { BatchMiddleware, IdempotencyStore, PipelineSpec } from '../index.ts';
import { base, gate, recordEvents } from './source.ts';
import type { Job, Row } from './source.ts';

/** Handlers that take many messages at once. */
export function batchRows(row: Row): void {
  describe('a batch', () => {
    row('closes by size, by bytes and by time', async ({ place, start, expect }) => {
      const events = recordEvents();
      const sizes: number[] = [];
      await place.send(...Array.from({ length: 7 }, (_, n) => ({ n })));
      await start(
        {
          ...base(place),
          flow: { concurrency: 4, expiresMs: 400, idleHeartbeatMs: 100 },
          // Time enough for what is there to come in, and for three to be sent.
          batch: { maxSize: 5, maxBytes: 100, maxWaitMs: 1_500 },
          handleBatch: async (messages) => {
            sizes.push(messages.length);
          },
        },
        events.observe,
      );
      await expect.poll(() => place.left()).toBe(0);
      expect(sizes.toSorted((a, b) => a - b)).toEqual([2, 5]);
      await place.send(...Array.from({ length: 3 }, (_, n) => ({ n, key: 'x'.repeat(40) })));
      await expect.poll(() => place.left()).toBe(0);
      const closedBy = new Set(events.of('batch.started').map((event) => event.closedBy));
      expect(closedBy).toEqual(new Set(['size', 'bytes', 'time']));
    });

    row('never mixes keys', async ({ place, start, expect }) => {
      const batches: string[][] = [];
      await place.send(...['a', 'b', 'a', 'b', 'a', 'b'].map((key, n): Job => ({ n, key })));
      await start({
        ...base(place),
        flow: { concurrency: 4, expiresMs: 400, idleHeartbeatMs: 100 },
        batch: { maxSize: 10, maxWaitMs: 1_000, by: ({ data }) => data.key ?? '' },
        handleBatch: async (messages) => {
          batches.push(messages.map(({ data }) => data.key ?? ''));
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(batches.toSorted(([a = ''], [b = '']) => a.localeCompare(b))).toEqual([
        ['a', 'a', 'a'],
        ['b', 'b', 'b'],
      ]);
    });

    row(
      'when open batches take every place, the oldest goes early instead of waiting for more',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        await place.send(...['a', 'b', 'c', 'd'].map((key, n): Job => ({ n, key })));
        await start(
          {
            ...base(place),
            flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
            batch: { maxSize: 2, maxWaitMs: 20_000, by: ({ data }) => data.key ?? '' },
            handleBatch: async () => undefined,
          },
          events.observe,
        );
        await expect.poll(() => events.of('batch.started').map(({ closedBy }) => closedBy)).toContain('demand');
      },
    );

    row('is wrapped by middleware, the first in the list outermost', async ({ place, start, expect }) => {
      const calls: string[] = [];
      const layer =
        (name: string): BatchMiddleware<Job, undefined> =>
        (next) =>
        async (messages, context) => {
          calls.push(`${name} ${messages.length}`);
          return next(messages, context);
        };
      await place.send({ n: 0 }, { n: 1 });
      await start({
        ...base(place),
        flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
        batch: { maxSize: 2, maxWaitMs: 5_000 },
        use: [layer('outer'), layer('inner')],
        handleBatch: async () => void calls.push('handler'),
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(calls).toEqual(['outer 2', 'inner 2', 'handler']);
    });

    row('may snooze one of its items', async ({ place, start, expect }) => {
      const events = recordEvents();
      await place.send({ n: 0 }, { n: 1 });
      await start(
        {
          ...base(place),
          flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
          batch: { maxSize: 2, maxWaitMs: 5_000 },
          handleBatch: async (messages) =>
            messages.length === 2 ? [undefined, { kind: 'snooze', forMs: 20 }] : undefined,
        },
        events.observe,
      );
      await expect.poll(() => events.of('message.snoozed')).toHaveLength(1);
      await expect.poll(() => place.left()).toBe(1);
    });

    row('has an outcome per item', async ({ place, start, expect }) => {
      await place.send({ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 });
      const attempts = new Map<number, number>();
      await start({
        ...base(place),
        flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
        batch: { maxSize: 4, maxWaitMs: 100 },
        handleBatch: async (messages) =>
          messages.map(({ data, attempt }) => {
            attempts.set(data.n, attempt);
            if (data.n === 1) return { kind: 'deadLetter', reason: 'bad item' };
            if (data.n === 2 && attempt === 1) return { kind: 'retry' };
            return undefined;
          }),
      });
      await expect.poll(() => place.left()).toBe(0);
      expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":1}']);
      expect([...attempts].toSorted(([a], [b]) => a - b)).toEqual([
        [0, 1],
        [1, 1],
        [2, 2],
        [3, 1],
      ]);
    });

    row(
      'of whose handler throws: every item fails and comes back alone, so a poison sinks its neighbours once',
      async ({ place, start, expect }) => {
        const batches: number[][] = [];
        await place.send({ n: 0 }, { n: 1 }, { n: 2 });
        await start({
          ...base(place),
          flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
          batch: { maxSize: 3, maxWaitMs: 1_000 },
          handleBatch: async (messages) => {
            batches.push(messages.map(({ data }) => data.n));
            if (messages.some(({ data }) => data.n === 1)) throw new Error('poison');
          },
        });
        await expect.poll(() => place.left()).toBe(0);
        expect(batches[0]).toEqual([0, 1, 2]);
        expect(batches.slice(1).every((batch) => batch.length === 1)).toBe(true);
        expect(
          batches
            .slice(1)
            .flat()
            .toSorted((a, b) => a - b),
        ).toEqual([0, 1, 1, 2]);
        expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":1}']);
      },
    );

    row('answered with the wrong number of outcomes counts as failed', async ({ place, start, expect }) => {
      await place.send({ n: 0 }, { n: 1 });
      await start({
        ...base(place),
        flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
        batch: { maxSize: 2, maxWaitMs: 60 },
        handleBatch: async (messages) => (messages.length > 1 ? [undefined] : undefined),
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(await place.deadLetters()).toEqual([]);
    });

    row('that is open at shutdown is handled, not given back', async ({ place, start, expect }) => {
      const handled: number[] = [];
      await place.send({ n: 0 }, { n: 1 });
      const running = await start({
        ...base(place),
        flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
        batch: { maxSize: 10, maxWaitMs: 20_000 },
        handleBatch: async (messages) => void handled.push(...messages.map(({ data }) => data.n)),
      });
      await expect.poll(() => running.snapshot().buffered).toBe(2);
      expect(await running.drain()).toEqual({ settled: 2, released: 0, abandoned: 0 });
      expect(handled).toEqual([0, 1]);
    });

    row('keeps the claims of what waits in it', async ({ place, start, expect }) => {
      const handled: string[] = [];
      const store = memoryIdempotencyStore();
      const spec = (name: string, maxWaitMs: number): PipelineSpec<Job, undefined> => ({
        ...base(place),
        name,
        flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
        batch: { maxSize: 2, maxWaitMs },
        idempotency: { key: ({ data }) => data.key ?? '', store, claimMs: 1_200 },
        handleBatch: async (messages) => void handled.push(...messages.map(({ data }) => `${name}${data.n}`)),
      });
      const slow = recordEvents();
      await start(spec('slow', 4_000), slow.observe);
      await place.send({ n: 1, key: 'same' });
      await expect.poll(() => slow.of('message.received')).toHaveLength(1);
      // Waits for longer than a claim lives; the other replica meets a duplicate meanwhile.
      await start(spec('quick', 10), undefined, await place.connect());
      await place.send({ n: 2, key: 'same' });
      await expect.poll(() => place.left()).toBe(0);
      expect(handled).toHaveLength(1);
    });

    row('loses one claim: the other messages are settled all the same', async ({ place, start, expect }) => {
      const inner = memoryIdempotencyStore();
      const events = recordEvents();
      const working = gate();
      const store: IdempotencyStore = {
        ...inner,
        renew: async (key, fence, claimMs) => key !== 'k1' && inner.renew(key, fence, claimMs),
      };
      await start(
        {
          ...base(place),
          flow: { concurrency: 1, expiresMs: 400, idleHeartbeatMs: 100 },
          batch: { maxSize: 3, maxWaitMs: 5_000 },
          idempotency: { key: ({ data }) => `k${data.n}`, store, claimMs: 100 },
          handleBatch: () => working.opened,
        },
        events.observe,
      );
      await place.send({ n: 1 }, { n: 2 }, { n: 3 });
      await expect.poll(() => events.of('claim.lost')).toHaveLength(1);
      working.open();
      await expect.poll(() => events.of('message.settled').length).toBe(3);
      const settled = events.of('message.settled').map(({ message, as }) => [message.sequence, as]);
      expect(Object.fromEntries(settled)).toEqual({ 1: 'busy', 2: 'ack', 3: 'ack' });
    });

    row('times out as one: every item is retried', async ({ place, start, expect }) => {
      const events = recordEvents();
      const never = gate();
      await place.send({ n: 0 }, { n: 1 });
      await start(
        {
          ...base(place),
          flow: { concurrency: 2, expiresMs: 400, idleHeartbeatMs: 100 },
          timeout: { handlerMs: 50, graceMs: 20 },
          batch: { maxSize: 2, maxWaitMs: 1_000 },
          handleBatch: async (messages) => {
            if (messages.length > 1) await never.opened;
          },
        },
        events.observe,
      );
      await expect.poll(() => place.left()).toBe(0);
      expect(events.of('message.timedOut')).toHaveLength(2);
      never.open();
    });
  });
}
