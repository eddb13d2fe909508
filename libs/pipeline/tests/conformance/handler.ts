import { describe } from 'vitest';
import { memoryIdempotencyStore, PermanentError, RetryAfterError } from '../../src/index.ts';
import type { AttemptRecord, AttemptStore, IdempotencyStore, NatsPort, PipelineSpec } from '../../src/index.ts';
import { base, decodeJson, gate, recordEvents, wasteDeliveries } from '../source.ts';
import type { Job, Row } from '../source.ts';

/** What a handler's end leads to. */
export function handlerRows(row: Row): void {
  describe('the handler returns', () => {
    row(
      'what it emitted is stored, then its key is completed, then the message is acknowledged',
      async ({ place, start, expect }) => {
        const order: string[] = [];
        const inner = memoryIdempotencyStore();
        const store: IdempotencyStore = {
          ...inner,
          complete: async (key, fence, ttlMs) => {
            // Time enough for an ack that was sent too early to arrive.
            await new Promise((resolve) => setTimeout(resolve, 50));
            order.push(`stored ${(await place.emitted()).length}, left ${await place.left()}, completing ${key}`);
            return inner.complete(key, fence, ttlMs);
          },
        };
        await place.send({ n: 7 });
        await start({
          ...base(place),
          idempotency: { key: ({ data }) => `job-${data.n}`, store },
          handle: async ({ data }, context) => context.emit(`out.${place.stream}.done`, { twice: data.n * 2 }),
        });
        await expect.poll(() => place.left()).toBe(0);
        expect(order).toEqual(['stored 1, left 1, completing job-7']);
        expect((await place.emitted()).map(({ body }) => body)).toEqual(['{"twice":14}']);
      },
    );

    row('the ack is kept until a round trip has proven that it arrived', async ({ place, start, expect }) => {
      await place.send({ n: 1 });
      const running = await start({ ...base(place), handle: async () => undefined });
      await expect.poll(() => place.left()).toBe(0);
      await expect.poll(() => running.snapshot().unconfirmedAcks).toBe(0);
    });

    row(
      'with confirm "each" the slot is free when the server has confirmed the ack',
      async ({ place, start, expect }) => {
        await place.send({ n: 1 }, { n: 2 });
        const running = await start({
          ...base(place),
          ack: { confirm: 'each' },
          handle: async () => undefined,
        });
        await expect.poll(() => place.left()).toBe(0);
        await expect.poll(() => running.snapshot()).toMatchObject({ inFlight: 0, buffered: 0, unconfirmedAcks: 0 });
      },
    );

    row('a skip is an ack that is counted apart', async ({ place, start, expect }) => {
      const events = recordEvents();
      await place.send({ n: 1 });
      await start(
        {
          ...base(place),
          handle: async () => ({ kind: 'skip', reason: 'not ours' }),
        },
        events.observe,
      );
      await expect.poll(() => place.left()).toBe(0);
      expect(events.of('message.settled').map(({ as }) => as)).toEqual(['skip']);
    });
  });

  describe('the handler returns a value that is no outcome', () => {
    for (const value of [{ id: 7 }, { kind: 'invoice' }, 1, 'ok', true, [], null]) {
      row(`${JSON.stringify(value)} counts as success, as the work is done`, async ({ place, start, expect }) => {
        const events = recordEvents();
        await place.send({ n: 1 });
        await start({ ...base(place), handle: (async () => value) as never }, events.observe);
        await expect.poll(() => place.left()).toBe(0);
        expect(events.of('message.started')).toHaveLength(1);
        expect(await place.deadLetters()).toEqual([]);
      });
    }
  });

  describe('what the handler emits', () => {
    row(
      'on a redelivery is stored unless it is the same again',
      async ({ place, start, expect }) => {
        // Loses the first acks: what a process killed between the PubAck and the ack looks like to the server.
        let lost = 0;
        const port: NatsPort = Object.create(place.port, {
          send: {
            value: (...[subject, data, options]: Parameters<NatsPort['send']>) => {
              if (lost < 2 && subject.startsWith('$JS.ACK.') && Buffer.from(data).toString() === '+ACK') lost++;
              else place.port.send(subject, data, options);
            },
          },
          connected: { get: () => place.port.connected },
          closed: { get: () => place.port.closed },
        }) as NatsPort;
        let runs = 0;
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            ack: { confirm: 'none' },
            handle: async (_, context) => {
              runs++;
              context.emit(`out.${place.stream}.x`, runs < 3 ? 'reserved' : 'sold out');
            },
          },
          undefined,
          port,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(runs).toBe(3);
        expect((await place.emitted()).map(({ body }) => body)).toEqual(['reserved', 'sold out']);
      },
      { ackWaitMs: 600 },
    );

    row('twice in one run is stored twice', async ({ place, start, expect }) => {
      await place.send({ n: 1 });
      await start({
        ...base(place),
        handle: async (_, context) => {
          for (const body of ['a', 'a', new TextEncoder().encode('a')]) context.emit(`out.${place.stream}.x`, body);
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect((await place.emitted()).map(({ body }) => body)).toEqual(['a', 'a', 'a']);
    });

    row('that cannot be encoded fails the handler', async ({ place, start, expect }) => {
      const loop: { self?: object } = {};
      loop.self = loop;
      await place.send({ n: 1 });
      await start({ ...base(place), handle: async (_, context) => context.emit(`out.${place.stream}.x`, loop) });
      await expect.poll(() => place.left()).toBe(0);
      expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'))).toEqual(['exhausted']);
    });
  });

  describe('the stream is made again, so that its sequences repeat', () => {
    row('events and dead letters of its new messages are stored', async ({ place, start, expect }) => {
      const events = recordEvents();
      await start(
        {
          ...base(place),
          handle: async ({ data }, context) => {
            if (data.n % 2 === 1) throw new PermanentError(`order ${data.n}`);
            context.emit(`out.${place.stream}.x`, { shipped: 0 });
          },
        },
        events.observe,
      );
      await place.send({ n: 1 }, { n: 2 });
      await expect.poll(() => place.left()).toBe(0);
      await place.makeStreamAgain();
      await place.send({ n: 101 }, { n: 102 });
      await expect.poll(() => events.of('message.handled').length).toBe(4);
      await expect.poll(() => place.left()).toBe(0);
      expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":1}', '{"n":101}']);
      expect(await place.emitted()).toHaveLength(2);
    });
  });

  describe('the stream is made again while a handler runs', () => {
    row('the new message at its sequence is handled, not acknowledged for it', async ({ place, start, expect }) => {
      const handled: number[] = [];
      const working = gate();
      await start({
        ...base(place),
        handle: async ({ data }) => {
          if (data.n === 1) await working.opened;
          handled.push(data.n);
        },
      });
      await place.send({ n: 1 });
      await expect.poll(async () => place.ackPending()).toBe(1);
      await place.makeStreamAgain();
      await place.send({ n: 100 }, { n: 101 });
      await expect.poll(() => handled.includes(101)).toBe(true);
      working.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(new Set(handled)).toEqual(new Set([1, 100, 101]));
    });

    row('an ack held through an outage does not settle the new message', async ({ place, start, expect }) => {
      const events = recordEvents();
      const working = gate();
      const running = await start(
        { ...base(place), handle: async ({ data }) => (data.n === 1 ? working.opened : undefined) },
        events.observe,
      );
      await place.send({ n: 1 });
      await expect.poll(() => running.snapshot().inFlight).toBe(1);
      await place.cut();
      await expect.poll(() => running.state).toBe('disconnected');
      working.open();
      await expect.poll(() => running.snapshot().heldSettlements).toBe(1);
      await place.makeStreamAgain();
      await place.send({ n: 100 });
      await place.restore();
      await expect.poll(() => events.of('connection.restored').length).toBe(1);
      expect(events.of('connection.restored')[0]?.resent).toBe(0);
      await expect.poll(() => place.left()).toBe(0);
      expect(events.of('message.started')).toHaveLength(2);
    });
  });

  describe('the handler throws', () => {
    row(
      'emits are discarded, the key is free again, and the message comes back after a jittered delay',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const attempts: number[] = [];
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            retry: { maxAttempts: 3, baseMs: 40, maxMs: 60, jitter: 'equal' },
            idempotency: { key: ({ data }) => `job-${data.n}`, store: memoryIdempotencyStore() },
            handle: async ({ attempt }, context) => {
              attempts.push(attempt);
              context.emit(`out.${place.stream}.done`, { attempt });
              if (attempt < 3) throw new Error('not yet');
            },
          },
          events.observe,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(attempts).toEqual([1, 2, 3]);
        expect((await place.emitted()).map(({ body }) => body)).toEqual(['{"attempt":3}']);
        const [first = 0, second = 0] = events.of('message.retryScheduled').map(({ delayMs }) => delayMs);
        expect(first).toBeGreaterThanOrEqual(20);
        expect(first).toBeLessThanOrEqual(40);
        expect(second).toBeGreaterThanOrEqual(30);
        expect(second).toBeLessThanOrEqual(60);
      },
    );

    row(
      'after the last attempt the message goes to the dead letters with its story',
      async ({ place, start, expect }) => {
        await place
          .store('{"n":1}', { id: 'order-1', headers: { traceparent: '00-aa-bb-01', 'Nats-Rollup': 'x' } })
          .catch(() => 0);
        const sequence = await place.store('{"n":2}', { id: 'order-2', headers: { traceparent: '00-aa-bb-01' } });
        await start({
          ...base(place),
          retry: { maxAttempts: 2, baseMs: 1, maxMs: 2 },
          handle: async () => {
            throw Object.assign(new TypeError('line one\nline two'), { code: 'E_ODD' });
          },
        });
        await expect.poll(() => place.left()).toBe(0);
        const record = (await place.deadLetters()).find(({ headers }) => headers.get('Dlq-Message-Id') === 'order-2');
        expect(record).toMatchObject({ subject: `dlq.${place.stream}.${place.consumer}`, body: '{"n":2}' });
        expect(Object.fromEntries(record?.headers ?? [])).toMatchObject({
          'Dlq-Reason': 'exhausted',
          'Dlq-Detail': 'line one line two',
          'Dlq-Error-Name': 'TypeError',
          'Dlq-Error-Code': 'E_ODD',
          'Dlq-Pipeline': 'conformance',
          'Dlq-Stream': place.stream,
          'Dlq-Consumer': place.consumer,
          'Dlq-Sequence': String(sequence),
          'Dlq-Subject': `${place.stream}.${place.consumer}`,
          'Dlq-Deliveries': '2',
          'Dlq-Redrives': '0',
          'Dlq-Attempts': '2',
          traceparent: '00-aa-bb-01',
        });
      },
    );
  });

  describe('a failure that no retry can help', () => {
    row('a PermanentError goes to the dead letters on the first attempt', async ({ place, start, expect }) => {
      await place.send({ n: 1 });
      await start({
        ...base(place),
        handle: async () => {
          throw new PermanentError('no such customer');
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      const [record] = await place.deadLetters();
      expect(record?.headers.get('Dlq-Reason')).toBe('permanent');
      expect(record?.headers.get('Dlq-Deliveries')).toBe('1');
    });

    row(
      'so does an error the policy calls not retryable, and an outcome that says so',
      async ({ place, start, expect }) => {
        await place.send({ n: 1 }, { n: 2 });
        await start({
          ...base(place),
          retry: { ...base(place).retry, retryable: (error) => !(error instanceof RangeError) },
          handle: async ({ data }) => {
            if (data.n === 1) throw new RangeError('out of range');
            return { kind: 'deadLetter', reason: 'unwanted' };
          },
        });
        await expect.poll(() => place.left()).toBe(0);
        const reasons = (await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'));
        expect(new Set(reasons)).toEqual(new Set(['permanent', 'rejected']));
      },
    );
  });

  describe('a policy function throws', () => {
    row('the message is retried, its slot is not lost', async ({ place, start, expect }) => {
      await place.send({ n: 1 }, { n: 2 });
      const running = await start({
        ...base(place),
        flow: { ...base(place).flow, concurrency: 1 },
        retry: {
          ...base(place).retry,
          retryable: () => {
            throw new Error('bug in the policy');
          },
        },
        handle: async ({ attempt }) => {
          if (attempt === 1) throw new Error('first');
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(running.snapshot().inFlight).toBe(0);
      expect(await place.deadLetters()).toEqual([]);
    });
  });

  describe('the handler names the delay', () => {
    row(
      'RetryAfterError and the retry outcome wait as told, at most maxAfterMs, and count as attempts',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            retry: { ...base(place).retry, maxMs: 20, maxAfterMs: 100 },
            handle: async ({ attempt }) => {
              if (attempt === 1) throw new RetryAfterError('busy', 30);
              return { kind: 'retry', afterMs: 60_000, reason: 'still busy' };
            },
          },
          events.observe,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(events.of('message.retryScheduled').map(({ delayMs, reason }) => [delayMs, reason])).toEqual([
          [30, 'busy'],
          [100, 'still busy'],
        ]);
        expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Deliveries'))).toEqual(['3']);
      },
    );
  });

  describe('the handler names a delay that is none', () => {
    for (const afterMs of [Number.NaN, -5000, 0, '3000']) {
      row(`after ${afterMs} the policy decides, or all attempts would be used up at once`, async (context) => {
        const { place, start, expect } = context;
        const events = recordEvents();
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            retry: { maxAttempts: 3, baseMs: 40, maxMs: 40, jitter: 'none' },
            handle: async ({ attempt }) => {
              if (attempt === 1) throw new RetryAfterError('busy', afterMs as number);
              if (attempt === 2) return { kind: 'retry', afterMs: afterMs as number };
              return undefined;
            },
          },
          events.observe,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(events.of('message.retryScheduled').map(({ delayMs }) => delayMs)).toEqual([40, 40]);
      });
    }
  });

  describe('the body cannot be decoded', () => {
    row('it goes to the dead letters on the first delivery, byte for byte', async ({ place, start, expect }) => {
      await place.store('{"n":');
      let calls = 0;
      await start({
        ...base(place),
        decode: decodeJson,
        handle: async () => {
          calls++;
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      const [record] = await place.deadLetters();
      expect(record?.body).toBe('{"n":');
      expect(record?.headers.get('Dlq-Reason')).toBe('decode');
      expect(record?.headers.get('Dlq-Deliveries')).toBe('1');
      expect(calls).toBe(0);
    });
  });

  describe('the dead letter cannot be stored', () => {
    row(
      'the message is nacked with a delay and is never acknowledged before the record is stored',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            handle: async () => {
              throw new PermanentError('bad');
            },
          },
          events.observe,
        );
        await expect.poll(() => place.deadLetters()).toHaveLength(1);
        await place.loseDeadLetters();
        await place.send({ n: 2 });
        await expect.poll(() => events.of('message.deadLetterFailed').length).toBeGreaterThan(3);
        expect(await place.left()).toBe(1);
        await place.restoreDeadLetters();
        await expect.poll(() => place.left()).toBe(0);
        // Delivered far more often than maxAttempts by now, and still under the reason it failed for.
        expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'))).toEqual(['permanent']);
      },
    );
  });

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

    row('without a store a message that ended too many processes is a crash loop', async ({ place, start, expect }) => {
      await place.send({ n: 1 });
      await wasteDeliveries(place, 3);
      let calls = 0;
      await start({
        ...base(place),
        retry: { ...base(place).retry, maxUnknownDeliveries: 3 },
        handle: async () => {
          calls++;
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      const [record] = await place.deadLetters();
      expect(record?.headers.get('Dlq-Reason')).toBe('crashLoop');
      expect(record?.headers.get('Dlq-Deliveries')).toBe('4');
      expect(calls).toBe(0);
    });
  });

  describe('the handler runs out of time', () => {
    row(
      'its signal is aborted and the attempt counts as a failure, even if it then returns',
      async ({ place, start, expect }) => {
        const reasons: unknown[] = [];
        const events = recordEvents();
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            timeout: { handlerMs: 60, graceMs: 500 },
            handle: async ({ attempt }, { signal }) => {
              if (attempt > 1) return;
              await new Promise<void>((resolve) => {
                signal.addEventListener('abort', () => resolve());
              });
              reasons.push(signal.reason);
            },
          },
          events.observe,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(reasons).toMatchObject([{ name: 'HandlerAborted', code: 'HANDLER_TIMEOUT' }]);
        expect(events.of('message.timedOut')).toHaveLength(1);
        expect(events.of('message.retryScheduled')).toHaveLength(1);
      },
    );

    row(
      'one that never returns stays counted as hung and keeps its slot until it does',
      async ({ place, start, expect }) => {
        const stuck = gate();
        const events = recordEvents();
        await place.send({ n: 1 });
        const running = await start(
          {
            ...base(place),
            timeout: { handlerMs: 40, graceMs: 40 },
            handle: async ({ attempt }) => {
              if (attempt === 1) await stuck.opened;
            },
          },
          events.observe,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(running.snapshot().hungHandlers).toBe(1);
        stuck.open();
        await expect.poll(() => running.snapshot().hungHandlers).toBe(0);
        expect(events.of('handler.hungReturned')).toHaveLength(1);
      },
    );

    row(
      'when every slot holds a hung handler `done` rejects, so that the process is restarted',
      async ({ place, start, expect }) => {
        const never = gate();
        await place.send({ n: 1 }, { n: 2 });
        const running = await start({
          ...base(place),
          flow: { ...base(place).flow, concurrency: 2 },
          timeout: { handlerMs: 40, graceMs: 20 },
          handle: () => never.opened,
        });
        await expect(running.done).rejects.toMatchObject({ name: 'PipelineFault', code: 'ALL_HANDLERS_HUNG' });
        expect(running.state).toBe('stopped');
        expect(running.health()).toMatchObject({ ok: false });
        never.open();
      },
    );
  });
}
