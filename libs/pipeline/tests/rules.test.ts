import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../src/process/backoff.ts';
import { Batcher } from '../src/schedule/batcher.ts';
import { Breaker } from '../src/schedule/breaker.ts';
import { parseAckSubject, storedAtMs } from '../src/process/delivery.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { Puller } from '../src/pull/puller.ts';
import { DueTimes } from '../src/schedule/due-times.ts';
import { Fifo } from '../src/schedule/fifo.ts';
import { resolveSpec } from '../src/config/resolve-spec.ts';
import { definePipeline, PermanentError, RetryAfterError } from '../src/index.ts';
import type { Message } from '../src/index.ts';
import { decide } from '../src/process/retry-decision.ts';
import type { NatsMessage, NatsPort } from '../src/nats/port.ts';
import { KeyOrder } from '../src/schedule/key-order.ts';
import { Prefetch } from '../src/pull/prefetch.ts';
import { TokenBucket } from '../src/schedule/token-bucket.ts';
import { WeightedTurn } from '../src/schedule/weighted-turn.ts';
import { manualClock } from '../src/testing/manual-clock.ts';

describe('the retry delay', () => {
  test('is never 0, never above maxMs, and with equal jitter at least half of the full delay', () => {
    const policy = fc.record({
      baseMs: fc.integer({ min: 1, max: 5000 }),
      maxMs: fc.integer({ min: 5000, max: 60_000 }),
      factor: fc.double({ min: 1, max: 10, noNaN: true }),
      jitter: fc.constantFrom('full' as const, 'equal' as const, 'none' as const),
    });
    const chance = fc.double({ min: 0, max: 0.999, noNaN: true });
    fc.assert(
      fc.property(policy, fc.integer({ min: 1, max: 50 }), chance, (options, attempt, random) => {
        const delay = backoffMs(options, attempt, () => random);
        const full = Math.min(options.maxMs, options.baseMs * options.factor ** (attempt - 1));
        expect(delay).toBeGreaterThanOrEqual(1);
        expect(delay).toBeLessThanOrEqual(Math.max(1, Math.round(full)));
        if (options.jitter === 'equal') expect(delay).toBeGreaterThanOrEqual(Math.floor(full / 2));
        if (options.jitter === 'none') expect(delay).toBe(Math.max(1, Math.round(full)));
      }),
    );
  });
});

describe('a handler that fails inside an instrument', () => {
  test.each([
    [
      'before it returns a promise',
      (): Promise<void> => {
        throw new PermanentError('no');
      },
    ],
    ['by its promise', () => Promise.reject(new PermanentError('no'))],
  ])('%s gives it a promise, and its dead letter the trace', async (_, handle) => {
    const server = new MemoryJetStream();
    server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
    server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
    server.addConsumer('W', 'worker', { max_ack_pending: 10 });
    const connection = server.connect();
    const traces: unknown[] = [];
    const nats: NatsPort = Object.create(connection, {
      publish: {
        value: (...args: Parameters<NatsPort['publish']>) => {
          traces.push((args[2]?.headers as Record<string, unknown> | undefined)?.['traceparent']);
          return connection.publish(...args);
        },
      },
    }) as NatsPort;
    let given: unknown;
    const running = await definePipeline({
      name: 'p',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: () => undefined,
      handle,
    }).start({
      nats,
      deps: undefined,
      instrument: (_messages, run) => {
        given = run();
        return given as ReturnType<typeof run>;
      },
      inject: () => ({ traceparent: 'that of the handler' }),
    });
    server.store('w.a', '{}');
    await expect.poll(() => traces).toEqual(['that of the handler']);
    expect(given).toBeInstanceOf(Promise);
    await running.drain();
  });
});

describe('a delay that the handler names', () => {
  const { retry } = resolveSpec({
    name: 'p',
    sources: [{ stream: 's', consumer: 'c' }],
    decode: () => undefined,
    handle: async () => undefined,
  });
  const hour = 3_600_000;
  test('is kept when it is longer than the policy would wait: an hour is an hour', () => {
    const failed = { kind: 'failed', error: new RetryAfterError('later', hour) } as const;
    expect(decide(failed, 1, retry, Math.random)).toMatchObject({ kind: 'retry', delayMs: hour });
    expect(decide({ kind: 'snooze', forMs: hour }, 1, retry, Math.random)).toMatchObject({ delayMs: hour });
  });
  test('is a day at most unless maxAfterMs says otherwise', () => {
    expect(decide({ kind: 'retry', afterMs: 30 * 24 * hour }, 1, retry, Math.random)).toMatchObject({
      delayMs: 24 * hour,
    });
  });
});

describe('the breaker', () => {
  test('is not closed by a run that began before the probe', () => {
    const breaker = new Breaker({ minSamples: 1, failureRatio: 1, coolDownMs: 10, counts: undefined });
    expect(breaker.record(true, 0)).toBe('trip');
    breaker.probe(100);
    expect(breaker.record(false, 50)).toBeUndefined();
    expect(breaker.phase).toBe('probing');
    expect(breaker.record(false, 100)).toBe('close');
  });
});

describe('times that come due', () => {
  test('leave nothing behind, whether asked or not', () => {
    const times = new DueTimes();
    for (let now = 0; now < 20_000; now++) times.add(now + 10, now);
    expect(times.size).toBeLessThan(600);
    expect(times.count(20_000)).toBe(9);
  });
});

describe('a puller under steady load', () => {
  test('forgets the pulls that are used up', async () => {
    const clock = manualClock();
    const server = new MemoryJetStream(clock);
    server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
    server.addConsumer('W', 'worker', { max_ack_pending: 10_000 });
    const ignore = (): void => undefined;
    const events = {
      ended: ignore,
      refused: ignore,
      alive: ignore,
      missing: ignore,
      failed: ignore,
      bodyless: ignore,
      unpinned: ignore,
    };
    const options = { stream: 'W', consumer: 'worker', expiresMs: 5000, idleHeartbeatMs: 1000 };
    const puller = new Puller(server.connect(), clock, options, { ...events, message: ignore });
    puller.open();
    puller.request(2);
    for (let n = 0; n < 500; n++) {
      server.store('w.a', '{}');
      await clock.settle();
      // One is always open: `requested` never reaches 0.
      puller.request(1);
      expect(puller.openPulls).toBeLessThanOrEqual(puller.requested);
    }
    expect(puller.openPulls).toBeLessThan(4);
    puller.close();
  });
});

describe('a puller that moved to another inbox after a stall', () => {
  test('takes in what the old one still brings, and is told only by the new one that the server lives', async () => {
    const clock = manualClock();
    const listeners: ((raw: NatsMessage) => void)[] = [];
    const port = {
      apiPrefix: '$JS.API',
      inbox: () => `_INBOX.${listeners.length}`,
      send: () => undefined,
      subscribe: (_: string, listen: (raw: NatsMessage) => void) => {
        listeners.push(listen);
        return { unsubscribe: () => undefined };
      },
    };
    const taken: NatsMessage[] = [];
    let signs = 0;
    const ignore = (): void => undefined;
    const puller = new Puller(
      port as unknown as NatsPort,
      clock,
      { stream: 'W', consumer: 'c', expiresMs: 400, idleHeartbeatMs: 100 },
      {
        message: (raw) => void taken.push(raw),
        alive: () => (signs += 1),
        unpinned: ignore,
        ended: ignore,
        refused: ignore,
        missing: ignore,
        failed: ignore,
        bodyless: ignore,
      },
    );
    const message = (body: string): NatsMessage =>
      ({ data: new TextEncoder().encode(body), headers: undefined }) as unknown as NatsMessage;
    const [late, answer] = [message('late'), message('answer')];
    puller.open();
    puller.request(2);
    await clock.advance(250);
    expect(puller.silentMs()).toBe(250);
    puller.renew();
    puller.awaitingLife = true;
    puller.request(3);
    await clock.advance(50);

    listeners[0]!(late);
    expect({ signs, requested: puller.requested, silentMs: puller.silentMs() }).toEqual({
      signs: 0,
      requested: 3,
      silentMs: 50,
    });
    listeners[1]!(answer);
    expect({ signs, requested: puller.requested, silentMs: puller.silentMs() }).toEqual({
      signs: 1,
      requested: 2,
      silentMs: 0,
    });
    expect(taken).toEqual([late, answer]);
  });
});

describe('the token bucket', () => {
  test('never gives more than the burst and the rate allow', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 500 })),
        (limit, burst, gaps) => {
          const bucket = new TokenBucket({ limit, perMs: 1000, burst }, 0);
          let now = 0;
          let taken = 0;
          for (const gap of gaps) {
            now += gap;
            while (bucket.take(now)) taken++;
            expect(taken).toBeLessThanOrEqual(burst + (limit * now) / 1000 + 1e-6);
            expect(bucket.waitMs(now)).toBeGreaterThan(0);
          }
        },
      ),
    );
  });

  test('saves up no more than the burst while nothing is asked of it', () => {
    const bucket = new TokenBucket({ limit: 10, perMs: 1000, burst: 3 }, 0);
    expect(bucket.available(3_600_000)).toBe(3);
  });

  test('has a token when the wait it named is over', () => {
    const bucket = new TokenBucket({ limit: 3, perMs: 1000, burst: undefined }, 0);
    let now = 0;
    for (let n = 0; n < 20; n++) {
      if (!bucket.take(now)) {
        now += bucket.waitMs(now);
        expect(bucket.take(now)).toBe(true);
      }
    }
  });
});

describe('turns by weight', () => {
  test('follow the weights, and no candidate is passed over for good', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 }), (weights) => {
        const turn = new WeightedTurn(weights);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const counts = weights.map(() => 0);
        for (let n = 0; n < total; n++) {
          const index = turn.next(() => true);
          counts[index] = (counts[index] ?? 0) + 1;
        }
        expect(counts).toEqual(weights);
      }),
    );
    expect(new WeightedTurn([1, 1]).next(() => false)).toBe(-1);
    expect(new WeightedTurn([9, 1]).next((index) => index === 1)).toBe(1);
  });
});

describe('the breaker', () => {
  const options = { minSamples: 4, failureRatio: 0.5, coolDownMs: 10, counts: undefined };
  test('looks at the newest results only, and trips at the ratio', () => {
    const breaker = new Breaker(options);
    for (const failed of [true, false, false, false]) expect(breaker.record(failed)).toBeUndefined();
    expect(breaker.record(true)).toBeUndefined();
    expect(breaker.record(true)).toBe('trip');
    expect(breaker.record(true)).toBeUndefined();
  });

  test('a probe that fails opens it again, one that succeeds closes it and starts afresh', () => {
    const breaker = new Breaker({ ...options, minSamples: 1 });
    expect(breaker.record(true)).toBe('trip');
    breaker.probe();
    expect(breaker.record(true)).toBe('trip');
    breaker.probe();
    expect(breaker.record(false)).toBe('close');
    expect(breaker.samples).toBe(0);
  });
});

describe('the prefetch', () => {
  test('is 0 without knowledge, for slow handlers, and while one is stuck', () => {
    const prefetch = new Prefetch(10, 30_000, 1000);
    expect(prefetch.retune(0)).toBe(0);
    prefetch.learn(20);
    expect(prefetch.retune(0)).toBe(0);
    const quick = new Prefetch(10, 30_000, 1000);
    quick.learn(0.1);
    expect(quick.retune(0)).toBeGreaterThan(0);
    expect(quick.retune(60)).toBe(0);
  });

  test('never exceeds what finishes within a third of ack_wait, nor its bound', () => {
    const slots = fc.integer({ min: 1, max: 256 });
    fc.assert(
      fc.property(
        slots,
        fc.integer({ min: 100, max: 30_000 }),
        fc.double({ min: 0.01, max: 4.9, noNaN: true }),
        fc.nat(500),
        (concurrency, ackWaitMs, durationMs, most) => {
          const prefetch = new Prefetch(concurrency, ackWaitMs, most);
          prefetch.learn(durationMs);
          for (let n = 0; n < 20; n++) prefetch.retune(0);
          expect(prefetch.current).toBeLessThanOrEqual(most);
          expect((prefetch.current / concurrency) * durationMs).toBeLessThanOrEqual(ackWaitMs / 3);
        },
      ),
    );
  });
});

describe('lanes', () => {
  test('let one message of a key out at a time, in order', () => {
    const lanes = new KeyOrder<number>();
    expect(lanes.enter('a', 1)).toBe(true);
    expect(lanes.enter('a', 2)).toBe(false);
    expect(lanes.enter('b', 3)).toBe(true);
    expect(lanes.enter('a', 4)).toBe(false);
    expect(lanes.waiting).toBe(2);
    expect(lanes.leave('a')).toBe(2);
    expect(lanes.leave('a')).toBe(4);
    expect(lanes.leave('a')).toBeUndefined();
    expect(lanes.waiting).toBe(0);
    expect(lanes.enter('a', 5)).toBe(true);
  });
});

describe('a batcher', () => {
  test('puts every message into one batch, within size and bytes, and redelivered ones alone', async () => {
    const item = fc.record({
      bytes: fc.integer({ min: 1, max: 50 }),
      key: fc.constantFrom('a', 'b'),
      attempt: fc.constantFrom(1, 1, 1, 2),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 60 }), fc.integer({ min: 1, max: 8 }), async (items, maxSize) => {
        const clock = manualClock();
        type Item = { readonly message: Message<undefined>; readonly bytes: number; readonly attempt: number };
        const batches: (readonly Item[])[] = [];
        const batcher = new Batcher<undefined, Item>(
          { maxSize, maxBytes: 100, maxWaitMs: 10, by: ({ key }) => key ?? '' },
          clock,
          (batch) => batches.push(batch),
        );
        for (const [index, { key, bytes, attempt }] of items.entries())
          batcher.add({ bytes, attempt, message: { key, sequence: index } as Message<undefined> });
        await clock.advance(10);
        expect(batcher.waiting).toBe(0);
        expect(
          batches
            .flat()
            .map(({ message }) => message.sequence)
            .toSorted((a, b) => a - b),
        ).toEqual(items.map((_, index) => index));
        for (const batch of batches) {
          expect(batch.length).toBeLessThanOrEqual(maxSize);
          expect(new Set(batch.map(({ message }) => message.key)).size).toBe(1);
          if (batch.length > 1) {
            expect(batch.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(100);
            expect(batch.every(({ attempt }) => attempt === 1)).toBe(true);
          }
        }
      }),
    );
  });
});

describe('the ack subject', () => {
  test('is read in the short form and in the one with a domain, and nothing else is taken for it', () => {
    const into = { deliveries: 0, sequence: 0, pending: 0 };
    const numbers = { deliveries: 3, sequence: 4711, pending: 17 };
    expect(parseAckSubject('$JS.ACK.ORDERS.mailer.3.4711.99.1700000000000000001.17', into)).toBe(true);
    expect(into).toEqual(numbers);
    expect(
      parseAckSubject('$JS.ACK.ORDERS.mailer.3.4711.99.1700000000000000001.17', into, '$JS.ACK.ORDERS.mailer.'),
    ).toBe(true);
    expect(into).toEqual(numbers);
    expect(parseAckSubject('$JS.ACK.hub.abcDEF12.ORDERS.mailer.3.4711.99.1700000000000000001.17.rnd', into)).toBe(true);
    expect(into).toEqual(numbers);
    expect(storedAtMs('$JS.ACK.ORDERS.mailer.3.4711.99.1700000000000999999.17')).toBe(1_700_000_000_000);
    expect(storedAtMs('$JS.ACK.hub.abcDEF12.ORDERS.mailer.3.4711.99.1700000000123000001.17.rnd')).toBe(
      1_700_000_000_123,
    );
    expect(storedAtMs('_INBOX.abc')).toBe(0);
    for (const other of ['', '_INBOX.abc', '$JS.ACK.ORDERS.mailer', '$JS.ACK.a.b.c.d.e.f.g', '$JS.API.a.b.1.2.3.4.5']) {
      expect(parseAckSubject(other, into)).toBe(false);
    }
  });
});

describe('a queue', () => {
  test('gives back what it was given, in order', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.integer(), fc.constant(undefined)), { maxLength: 3000 }), (moves) => {
        const queue = new Fifo<{ value: number }>();
        const model: number[] = [];
        for (const move of moves) {
          if (move === undefined) expect(queue.take()?.value).toBe(model.shift());
          else {
            queue.add({ value: move });
            model.push(move);
          }
          expect(queue.size).toBe(model.length);
        }
        expect(queue.takeAll().map(({ value }) => value)).toEqual(model);
      }),
    );
  });
});

describe('a drain', () => {
  test('of an idle pipeline waits for its open pull, which lives for two seconds by default', async () => {
    const clock = manualClock();
    const server = new MemoryJetStream(clock);
    server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
    server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
    server.addConsumer('W', 'worker');
    const starting = definePipeline({
      name: 'idle',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: () => undefined,
      handle: async () => undefined,
    }).start({ nats: server.connect(), deps: undefined, clock });
    await clock.settle();
    const running = await starting;
    await clock.settle();
    expect(running.snapshot().requested).toBeGreaterThan(0);
    void running.drain();
    await clock.advance(2_100);
    expect(running.state).toBe('stopped');
  });
});
