import { describe } from 'vitest';
import { delayedMessages, natsLimits } from '../index.ts';
import type { AttemptStore, LimitsOptions, NatsPort } from '../index.ts';
import { base, gate, recordEvents } from './source.ts';
import type { Job, Place, Row } from './source.ts';

const bySender = ({ data }: { readonly data: Job }): string | undefined => data.key;

/** Counts of handlers at work at once, in all and by key. */
function counters() {
  const now = new Map<string, number>();
  const most = new Map<string, number>();
  const add = (key: string, change: number): void => {
    const count = (now.get(key) ?? 0) + change;
    now.set(key, count);
    most.set(key, Math.max(count, most.get(key) ?? 0));
  };
  const during = async (key: string, work: () => Promise<unknown>): Promise<void> => {
    for (const one of ['all', key]) add(one, 1);
    await work();
    for (const one of ['all', key]) add(one, -1);
  };
  return { most, during };
}

/** One for all replicas, as a bucket is. */
function memoryAttempts(): AttemptStore {
  const records = new Map<string, Parameters<AttemptStore['write']>[1]>();
  return {
    read: async (key) => records.get(key),
    write: async (key, record) => void records.set(key, record),
    remove: async (key) => void records.delete(key),
  };
}

const pauseMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How many may start, in all and of each key, here and over replicas. */
export function limitRows(row: Row): void {
  describe('limits', () => {
    row('so many of a key run at once, and other keys do not wait for them', async ({ place, start, expect }) => {
      const working = gate();
      const { most, during } = counters();
      const running = await start({
        ...base(place),
        limits: { key: bySender, perKey: { concurrency: 2 } },
        handle: ({ data }) => during(data.key ?? '', () => (data.key === 'a' ? working.opened : Promise.resolve())),
      });
      await place.send(...Array.from({ length: 8 }, (_, n) => ({ n, key: 'a' })), { n: 8, key: 'b' });
      await expect.poll(() => place.left()).toBe(8);
      expect(running.snapshot().inFlight).toBe(2);
      expect(running.explain(3)).toEqual({
        state: 'limited',
        limit: 'perKey',
        lacks: 'concurrency',
        key: 'a',
        ahead: 0,
        forMs: 0,
      });
      working.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(Object.fromEntries(most)).toMatchObject({ a: 2, b: 1 });
    });

    row('the first message of a key does not wait behind a backlog of another', async ({ place, start, expect }) => {
      const events = recordEvents();
      const working = gate();
      const attempts: number[] = [];
      await place.send(...Array.from({ length: 150 }, (_, n) => ({ n, key: 'a' })), { n: 150, key: 'b' });
      const running = await start(
        {
          ...base(place),
          limits: { key: bySender, perKey: { concurrency: 1 } },
          handle: async ({ data, attempt }) => {
            attempts.push(attempt);
            if (data.key === 'a') await working.opened;
          },
        },
        events.observe,
      );
      await expect.poll(() => place.left()).toBe(150);
      const [deferred] = events.of('message.deferred');
      expect(deferred).toMatchObject({ limit: 'perKey' });
      expect(running.explain(deferred?.message.sequence ?? 0)).toMatchObject({ state: 'deferred', limit: 'perKey' });
      // What others may need is left free.
      expect(await place.ackPending()).toBeLessThan(500);
      working.open();
      await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
      expect(new Set(attempts)).toEqual(new Set([1]));
      expect(await place.deadLetters()).toEqual([]);
    });

    row(
      'of any length: what max_ack_pending has no place for is set aside until its turn is near',
      async ({ place, start, expect }) => {
        const later = `later.${place.stream}`;
        const forwarder = await delayedMessages({
          stream: `LATER_${place.stream}`,
          consumer: 'due',
          subject: later,
          deadLetter: { subject: `dlq.${place.stream}.due` },
          flow: { expiresMs: 400, idleHeartbeatMs: 100 },
        }).start({ nats: await place.connect(), deps: undefined });
        try {
          const events = recordEvents();
          const handled: string[] = [];
          let ackPending = 0;
          const ids = Array.from({ length: 300 }, (_, n) => `a${n}`);
          for (const [n, id] of ids.entries()) await place.store(JSON.stringify({ n, key: 'a' }), { id });
          await place.send({ n: 300, key: 'b' });
          await start(
            {
              ...base(place),
              limits: { key: bySender, perKey: { concurrency: 2 } },
              delayed: { subject: later },
              handle: async ({ data, id, attempt }) => {
                handled.push(data.key === 'b' ? 'b' : `${id}/${attempt}`);
                if (data.key === 'b') ackPending = await place.ackPending();
                else await pauseMs(20);
              },
            },
            events.observe,
          );
          await expect.poll(() => handled, { timeout: 25_000 }).toContain('b');
          expect(handled.indexOf('b')).toBeLessThan(150);
          // A quarter of 100 was sent back, and the rest set aside.
          expect(events.of('message.deferred').length).toBeGreaterThan(25);
          await expect.poll(() => ackPending).toBeGreaterThan(0);
          expect(ackPending).toBeLessThan(100);
          await expect.poll(() => handled.length, { timeout: 25_000 }).toBe(301);
          expect(new Set(handled)).toEqual(new Set(['b', ...ids.map((id) => `${id}/1`)]));
          await expect.poll(() => place.left()).toBe(0);
          expect(await place.deadLetters()).toEqual([]);
        } finally {
          await forwarder.drain();
        }
      },
      { delayed: true, maxAckPending: 100 },
    );

    row('keys take turns when slots are short', async ({ place, start, expect }) => {
      const order: string[] = [];
      await place.send(
        ...Array.from({ length: 40 }, (_, n) => ({ n, key: 'a' })),
        ...Array.from({ length: 4 }, (_, n) => ({ n: 40 + n, key: 'b' })),
      );
      await start({
        ...base(place),
        flow: { ...base(place).flow, concurrency: 2 },
        limits: { key: bySender },
        handle: async ({ data }) => {
          order.push(data.key ?? '');
          await pauseMs(300);
        },
      });
      await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
      // In the order they were stored, 40 would have come first.
      expect(order.indexOf('b')).toBeLessThan(20);
    });

    row('so many start in a second, after a burst', async ({ place, start, expect }) => {
      const startedAt: number[] = [];
      await place.send(...Array.from({ length: 25 }, (_, n) => ({ n })));
      await start({
        ...base(place),
        limits: { all: { perSecond: 50, burst: 5 } },
        handle: async () => void startedAt.push(performance.now()),
      });
      await expect.poll(() => place.left()).toBe(0);
      expectRate(expect, startedAt, 50, 5);
    });

    row(
      'replicas share a limit on concurrency, and one that ends gives its part back',
      async ({ place, start, expect }) => {
        const { most, during } = counters();
        const store = memoryAttempts();
        const replica = async (nats: NatsPort) =>
          start(
            {
              ...base(place),
              limits: { key: bySender, perKey: { concurrency: 3 }, all: { concurrency: 5 }, ...shared(place, nats) },
              attempts: { store },
              handle: ({ data }) => during(data.key ?? '', () => pauseMs(20)),
            },
            undefined,
            nats,
          );
        const [first] = await Promise.all([replica(place.port), replica(await place.connect())]);
        const send = (): Promise<unknown> =>
          place.send(...Array.from({ length: 60 }, (_, n) => ({ n, key: n % 2 === 0 ? 'a' : 'b' })));
        await send();
        await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
        await first?.drain();
        await send();
        await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
        for (const [key, bound] of [
          ['a', 3],
          ['b', 3],
          ['all', 5],
        ] as const) {
          expect(most.get(key)).toBeLessThanOrEqual(bound);
        }
        expect(await place.deadLetters()).toEqual([]);
      },
      { limits: true },
    );

    row(
      'replicas share a rate',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const startedAt: number[] = [];
        const replica = async (nats: NatsPort) =>
          start(
            {
              ...base(place),
              limits: { all: { perSecond: 40, burst: 4 }, ...shared(place, nats) },
              handle: async () => void startedAt.push(performance.now()),
            },
            events.observe,
            nats,
          );
        await Promise.all([replica(place.port), replica(await place.connect())]);
        await place.send(...Array.from({ length: 80 }, (_, n) => ({ n })));
        await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
        expectRate(expect, startedAt, 40, 4);
        // Leases are for many messages.
        expect(events.of('limits.written').length).toBeLessThan(30);
      },
      { limits: true },
    );

    row(
      'a replica that loses the broker for longer than its leases leaves them to the other: nothing is lost or done twice',
      async ({ place, start, expect }) => {
        const { most, during } = counters();
        const handled: number[] = [];
        const replica = async (nats: NatsPort) =>
          start(
            {
              ...base(place),
              limits: { all: { concurrency: 3 }, ...shared(place, nats), leaseMs: 500 },
              handle: ({ data }) =>
                during('', async () => {
                  await pauseMs(10);
                  handled.push(data.n);
                }),
            },
            undefined,
            nats,
          );
        const [cut] = await Promise.all([replica(place.port), replica(await place.connect())]);
        const send = (from: number): Promise<unknown> =>
          place.send(...Array.from({ length: 30 }, (_, n) => ({ n: from + n })));
        await send(0);
        await expect.poll(() => place.left()).toBe(0);
        await place.cut();
        await send(30);
        // The other one has all of the limit in the end, and works all of it off.
        await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
        await pauseMs(600);
        await place.restore();
        await expect.poll(() => cut?.health().ok, { timeout: 60_000 }).toBe(true);
        await send(60);
        await expect.poll(() => place.left(), { timeout: 60_000 }).toBe(0);
        expect(handled.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 90 }, (_, n) => n));
        expect(most.get('all')).toBeLessThanOrEqual(3);
      },
      // What was on its way when the connection broke comes again after it.
      { limits: true, ackWaitMs: 10_000 },
    );

    row(
      'without their store nothing starts, health says so, and nothing is lost',
      async ({ place, start, expect }) => {
        const handled: number[] = [];
        let isAway = true;
        const store = natsLimits(place.port, { bucket: `limits_${place.stream}`, timeoutMs: 1_000 });
        const running = await start({
          ...base(place),
          limits: {
            all: { concurrency: 2 },
            leaseMs: 3_000,
            shared: {
              ...store,
              write: (...args) => (isAway ? Promise.reject(new Error('away')) : store.write(...args)),
            },
          },
          handle: async ({ data }) => void handled.push(data.n),
        });
        await place.send({ n: 1 }, { n: 2 }, { n: 3 });
        await expect.poll(() => running.health().conditions.map(({ code }) => code)).toContain('limitStoreFails');
        await expect.poll(() => running.explain(1)).toMatchObject({ state: 'limited', limit: 'all', lacks: 'lease' });
        expect(handled).toEqual([]);
        isAway = false;
        await expect.poll(() => place.left()).toBe(0);
        expect(handled.toSorted((a, b) => a - b)).toEqual([1, 2, 3]);
        expect(running.health().ok).toBe(true);
      },
      { limits: true },
    );
  });
}

const shared = (place: Place, nats: NatsPort): Pick<LimitsOptions<Job>, 'shared' | 'leaseMs'> => ({
  shared: natsLimits(nats, { bucket: `limits_${place.stream}` }),
  // Longer than a busy machine keeps a process from writing its heartbeat: leases that end let others start beside.
  leaseMs: 10_000,
});

/** In every window that begins with a start: no more than the burst and what the rate allows in it. */
function expectRate(
  expect: Parameters<Parameters<Row>[1]>[0]['expect'],
  startedAt: readonly number[],
  perSecond: number,
  burst: number,
): void {
  for (const from of startedAt.keys()) {
    for (let to = from; to < startedAt.length; to++) {
      const windowMs = (startedAt[to] ?? 0) - (startedAt[from] ?? 0);
      // A timer that fires late has the next ones come closer together, never more of them: one for rounding.
      expect(to - from + 1).toBeLessThanOrEqual(burst + (windowMs * perSecond) / 1000 + 1);
    }
  }
}
