import { describe } from 'vitest';
import { base, gate, recordEvents } from './source.ts';
import type { Job, Row } from './source.ts';

/** How much is taken, in which order and how fast. */
export function flowRows(row: Row): void {
  describe('demand is the free slots', () => {
    row('never more is asked for and held than there are slots', async ({ place, start, expect }) => {
      const working = gate();
      await place.send(...Array.from({ length: 20 }, (_, n) => ({ n })));
      const running = await start({ ...base(place), handle: () => working.opened });
      await expect.poll(() => running.snapshot().inFlight).toBe(4);
      const { requested, buffered, inFlight } = running.snapshot();
      expect(requested + buffered + inFlight).toBe(4);
      expect(await place.ackPending()).toBe(4);
      working.open();
      await expect.poll(() => place.left()).toBe(0);
    });

    row('two replicas share a backlog of slow jobs in proportion to their slots', async ({ place, start, expect }) => {
      const counts = { small: 0, large: 0 };
      const both = gate();
      const slow = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 25));
      const replica = (name: 'small' | 'large', concurrency: number, nats = place.port) =>
        start(
          {
            ...base(place),
            flow: { ...base(place).flow, concurrency },
            handle: async () => {
              counts[name]++;
              await both.opened;
              await slow();
            },
          },
          undefined,
          nats,
        );
      const other = await place.connect();
      await Promise.all([replica('small', 2), replica('large', 6, other)]);
      await place.send(...Array.from({ length: 80 }, (_, n) => ({ n })));
      // The first to start has no head start: each has its slots full and finds a backlog.
      await expect.poll(() => counts).toEqual({ small: 2, large: 6 });
      both.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(counts.small + counts.large).toBe(80);
      expect(Math.abs(counts.small / 80 - 0.25)).toBeLessThan(0.1);
    });
  });

  describe('adaptive prefetch', () => {
    row('stays 0 for slow handlers and grows for quick ones', async ({ place, start, expect }) => {
      const { prefetch: _, ...flow } = base(place).flow;
      let delayMs = 20;
      await place.send(...Array.from({ length: 60 }, (_, n) => ({ n })));
      const running = await start({
        ...base(place),
        flow,
        handle: async () => {
          if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(running.snapshot().prefetch).toBe(0);
      delayMs = 0;
      await place.send(...Array.from({ length: 300 }, (_, n) => ({ n })));
      await expect.poll(() => running.snapshot().prefetch).toBeGreaterThan(0);
    });
  });

  describe('ordered lanes', () => {
    row(
      'messages of one key run one after the other, in stream order, and do not hold up other keys',
      async ({ place, start, expect }) => {
        const seen: string[] = [];
        const slow = gate();
        let inLane = 0;
        await place.send(...['a', 'a', 'b', 'a', 'c', 'b', 'c', 'a'].map((key, n): Job => ({ n, key })));
        await start({
          ...base(place),
          flow: { ...base(place).flow, prefetch: 4, orderBy: ({ data }) => data.key },
          handle: async ({ data, key }) => {
            expect(key).toBe(data.key);
            if (data.key === 'a') {
              expect(++inLane).toBe(1);
              await slow.opened;
              inLane--;
            }
            seen.push(`${data.key}${data.n}`);
          },
        });
        await expect.poll(() => seen).toEqual(['b2', 'c4', 'b5', 'c6']);
        slow.open();
        await expect.poll(() => place.left()).toBe(0);
        expect(seen.filter((one) => one.startsWith('a'))).toEqual(['a0', 'a1', 'a3', 'a7']);
      },
    );

    row(
      'a retry holds its lane, and only its lane, until it is through or given up',
      async ({ place, start, expect }) => {
        const seen: string[] = [];
        await place.send({ n: 0, key: 'a' }, { n: 1, key: 'a' }, { n: 2, key: 'b' });
        await start({
          ...base(place),
          flow: { ...base(place).flow, concurrency: 2, orderBy: ({ data }) => data.key },
          // Long enough for what is in no lane of it to come in meanwhile.
          retry: { maxAttempts: 3, baseMs: 300, maxMs: 400 },
          handle: async ({ data, attempt }) => {
            seen.push(`${data.key}${data.n}/${attempt}`);
            if (data.n === 0) throw new Error('poison');
          },
        });
        await expect.poll(() => place.left()).toBe(0);
        expect(seen.filter((one) => one.startsWith('a'))).toEqual(['a0/1', 'a0/2', 'a0/3', 'a1/1']);
        expect(seen.indexOf('b2/1')).toBeLessThan(seen.indexOf('a1/1'));
        expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":0,"key":"a"}']);
      },
    );
  });

  describe('explain says why a message waits', () => {
    row('running, behind its key, queued, backing off, not here', async ({ place, start, expect }) => {
      const working = gate();
      const running = await start({
        ...base(place),
        flow: { ...base(place).flow, concurrency: 1, prefetch: 4, orderBy: ({ data }) => data.key },
        retry: { maxAttempts: 9, baseMs: 60_000, maxMs: 60_000, jitter: 'none' },
        handle: async ({ data }) => {
          await working.opened;
          if (data.n === 1) throw new Error('once');
        },
      });
      await place.send({ n: 1, key: 'a' }, { n: 2, key: 'a' }, { n: 3, key: 'b' });
      await expect.poll(() => running.snapshot().buffered).toBe(2);
      expect(running.explain(1)).toMatchObject({ state: 'running' });
      expect(running.explain(2)).toEqual({ state: 'orderKeyBusy', key: 'a', ahead: 1 });
      expect(running.explain(3)).toEqual({ state: 'queued', ahead: 0 });
      expect(running.explain(4)).toEqual({ state: 'notHeld' });
      working.open();
      await expect.poll(() => running.explain(1).state).toBe('backingOff');
      expect(running.explain(2).state).toBe('orderKeyBusy');
    });

    row('behind how many, and for how long the rate limit holds it', async ({ place, start, expect }) => {
      const working = gate();
      const running = await start({
        ...base(place),
        flow: { ...base(place).flow, concurrency: 1, prefetch: 3 },
        handle: () => working.opened,
      });
      await place.send({ n: 1 }, { n: 2 }, { n: 3 });
      await expect.poll(() => running.snapshot().buffered).toBe(2);
      expect(running.explain(3)).toEqual({ state: 'queued', ahead: 1 });
      running.setRate({ limit: 1, perMs: 3_600_000, burst: 1 });
      working.open();
      // One token: the second message takes it, and the third waits for the next.
      await expect.poll(() => running.explain(3).state).toBe('rateLimited');
      running.setRate(undefined);
      await expect.poll(() => place.left()).toBe(0);
    });
  });

  describe('messages of one key', () => {
    row('keep their order when a pause comes while the first waits for its retry', async ({ place, start, expect }) => {
      const events = recordEvents();
      const order: string[] = [];
      const running = await start(
        {
          ...base(place),
          flow: { ...base(place).flow, orderBy: ({ data }) => data.key },
          retry: { maxAttempts: 9, baseMs: 1_000, maxMs: 1_000, jitter: 'none' },
          handle: async ({ data }) => {
            order.push(`${data.n}`);
            if (order.length === 1) throw new Error('once');
          },
        },
        events.observe,
      );
      await place.send({ n: 1, key: 'k' }, { n: 2, key: 'k' }, { n: 3, key: 'k' });
      await expect.poll(() => events.of('message.retryScheduled')).toHaveLength(1);
      await expect.poll(() => events.of('message.received')).toHaveLength(3);
      await running.pause('an operator');
      running.resume();
      await expect.poll(() => place.left()).toBe(0);
      expect(order).toEqual(['1', '1', '2', '3']);
    });

    for (const maxAttempts of [1, 3]) {
      row(`never run beside a hung handler of their key (maxAttempts ${maxAttempts})`, async (context) => {
        const { place, start, expect } = context;
        const events = recordEvents();
        const hung = gate();
        let now = 0;
        let most = 0;
        await start(
          {
            ...base(place),
            flow: { ...base(place).flow, orderBy: ({ data }) => data.key },
            retry: { maxAttempts, baseMs: 1, maxMs: 1 },
            timeout: { handlerMs: 60, graceMs: 20 },
            handle: async ({ data, attempt }) => {
              if (data.key !== 'k') return;
              most = Math.max(most, ++now);
              if (data.n === 1 && attempt === 1) await hung.opened;
              now--;
            },
          },
          events.observe,
        );
        await place.send({ n: 1, key: 'k' }, { n: 2, key: 'k' }, { n: 3, key: 'other' });
        await expect.poll(() => events.of('handler.hung')).toHaveLength(1);
        // Another key goes on meanwhile.
        await expect.poll(() => events.of('message.settled').some(({ message }) => message.key === 'other')).toBe(true);
        hung.open();
        await expect.poll(() => place.left()).toBe(0);
        expect(most).toBe(1);
      });
    }
  });

  describe('weighted sources', () => {
    row(
      'share the slots by weight while both have work, and none starves',
      async ({ place, start, expect }) => {
        const order: string[] = [];
        for (let n = 0; n < 40; n++) {
          await place.store(JSON.stringify({ n, key: 'high' }), { lane: 'high' });
          await place.store(JSON.stringify({ n, key: 'low' }), { lane: 'low' });
        }
        await start({
          ...base(place),
          sources: [
            { stream: place.stream, consumer: 'high', weight: 3 },
            { stream: place.stream, consumer: 'low', weight: 1 },
          ],
          handle: async ({ data }) => {
            order.push(data.key ?? '');
            await new Promise((resolve) => setTimeout(resolve, 5));
          },
        });
        await expect.poll(() => place.left()).toBe(0);
        const whileBoth = order.slice(0, 40);
        const high = whileBoth.filter((key) => key === 'high').length;
        expect(high).toBeGreaterThanOrEqual(26);
        expect(high).toBeLessThanOrEqual(34);
      },
      { lanes: ['high', 'low'] },
    );

    row(
      'an idle source does not keep slots from the other',
      async ({ place, start, expect }) => {
        const working = gate();
        for (let n = 0; n < 8; n++) await place.store(JSON.stringify({ n }), { lane: 'low' });
        const running = await start({
          ...base(place),
          sources: [
            { stream: place.stream, consumer: 'high', weight: 9 },
            { stream: place.stream, consumer: 'low', weight: 1 },
          ],
          handle: () => working.opened,
        });
        await expect.poll(() => running.snapshot().inFlight).toBe(4);
        working.open();
        await expect.poll(() => place.left()).toBe(0);
      },
      { lanes: ['high', 'low'] },
    );
  });

  describe('a source with a reserve', () => {
    row(
      'starts as many when every slot is taken, and no more',
      async ({ place, start, expect }) => {
        const working = gate();
        const started: string[] = [];
        for (let n = 0; n < 8; n++) await place.store(JSON.stringify({ n, key: 'low' }), { lane: 'low' });
        const running = await start({
          ...base(place),
          sources: [
            { stream: place.stream, consumer: 'high', reserve: 2 },
            { stream: place.stream, consumer: 'low' },
          ],
          handle: ({ data }) => {
            started.push(data.key ?? '');
            return working.opened;
          },
        });
        await expect.poll(() => started.length).toBe(4);
        for (let n = 0; n < 4; n++) await place.store(JSON.stringify({ n, key: 'high' }), { lane: 'high' });
        await expect.poll(() => running.snapshot().inFlight).toBe(6);
        await place.store(JSON.stringify({ n: 4, key: 'high' }), { lane: 'high' });
        expect(started).toEqual(['low', 'low', 'low', 'low', 'high', 'high']);
        working.open();
        await expect.poll(() => place.left()).toBe(0);
      },
      { lanes: ['high', 'low'] },
    );
  });

  describe('the rate limit', () => {
    row(
      'is a token bucket: a burst, then the steady rate; it can be changed while running',
      async ({ place, start, expect }) => {
        let started = 0;
        const events = recordEvents();
        await place.send(...Array.from({ length: 30 }, (_, n) => ({ n })));
        const running = await start(
          {
            ...base(place),
            flow: { ...base(place).flow, rate: { limit: 1, perMs: 60_000, burst: 5 } },
            handle: async () => {
              started++;
            },
          },
          events.observe,
        );
        await expect.poll(() => events.of('rate.limited').length).toBeGreaterThan(0);
        await expect.poll(() => started).toBe(5);
        // What may not start is not held: it is there for other replicas.
        await expect.poll(() => running.snapshot()).toMatchObject({ inFlight: 0, buffered: 0, requested: 0 });
        expect(started).toBe(5);
        running.setRate(undefined);
        await expect.poll(() => place.left()).toBe(0);
        expect(() => running.setRate({ limit: 0, perMs: 1 })).toThrow('rate.limit must be at least');
      },
    );
  });

  describe('the concurrency', () => {
    row('can be changed while handlers run', async ({ place, start, expect }) => {
      const gates = Array.from({ length: 6 }, gate);
      const started: number[] = [];
      await place.send(...gates.map((_, n) => ({ n })));
      const running = await start({
        ...base(place),
        flow: { ...base(place).flow, concurrency: 1 },
        handle: async ({ data }) => {
          started.push(data.n);
          await gates[data.n]?.opened;
        },
      });
      await expect.poll(() => started).toHaveLength(1);
      running.setConcurrency(3);
      await expect.poll(() => started).toHaveLength(3);
      running.setConcurrency(1);
      for (const n of started.slice(0, 2)) gates[n]?.open();
      await expect.poll(() => running.snapshot()).toMatchObject({ inFlight: 1, buffered: 0 });
      expect(started).toHaveLength(3);
      for (const one of gates) one.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(() => running.setConcurrency(0)).toThrow('concurrency must be at least 1');
      expect(() => running.setConcurrency(2000)).toThrow('max_ack_pending is 1000');
    });
  });

  describe('the rate limit, left alone', () => {
    row('goes on by itself when the next token is there', async ({ place, start, expect }) => {
      await place.send({ n: 1 }, { n: 2 }, { n: 3 });
      await start({
        ...base(place),
        flow: { ...base(place).flow, rate: { limit: 1, perMs: 60, burst: 1 } },
        handle: async () => undefined,
      });
      await expect.poll(() => place.left()).toBe(0);
    });
  });
}
