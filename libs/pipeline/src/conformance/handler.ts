import { describe } from 'vitest';
import { bySubject, memoryIdempotencyStore } from '../index.ts';
import type { IdempotencyStore, NatsPort, PipelineSpec } from '../index.ts';
import { base, gate, recordEvents } from './source.ts';
import type { Job, Row } from './source.ts';

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

  describe('the handler snoozes', () => {
    row(
      'its message comes back after that time, and no attempt is used, however often',
      async ({ place, start, expect }) => {
        const attempts: number[] = [];
        const events = recordEvents();
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            retry: { maxAttempts: 2, baseMs: 20, maxMs: 100 },
            handle: async ({ attempt }, context) => {
              attempts.push(attempt);
              context.emit(`out.${place.stream}.run`, `${attempts.length}`);
              return attempts.length < 5 ? { kind: 'snooze', forMs: 20, reason: 'not open yet' } : undefined;
            },
          },
          events.observe,
        );
        await expect.poll(() => place.left()).toBe(0);
        expect(attempts).toEqual([1, 1, 1, 1, 1]);
        expect(events.of('message.snoozed').map(({ delayMs, reason }) => [delayMs, reason])[0]).toEqual([
          20,
          'not open yet',
        ]);
        expect(events.of('message.settled').map(({ as }) => as)).toEqual([
          'snooze',
          'snooze',
          'snooze',
          'snooze',
          'ack',
        ]);
        // What a run emitted that was put off is dropped with it.
        expect((await place.emitted()).map(({ body }) => body)).toEqual(['5']);
        expect(await place.deadLetters()).toEqual([]);
      },
    );

    row('without an attempt store it is not delivered again, and takes no slot meanwhile', async (context) => {
      const { place, start, expect } = context;
      const deliveries: number[] = [];
      const others: number[] = [];
      const [first] = await place.send({ n: 1 });
      const spec: PipelineSpec<Job, undefined> = {
        ...base(place),
        flow: { ...base(place).flow, concurrency: 1 },
        handle: async (message) => {
          if (message.data.n > 1) others.push(message.data.n);
          else {
            deliveries.push(message.deliveries);
            // Then until the end of the test.
            return { kind: 'snooze', forMs: deliveries.length < 3 ? 20 : 3_600_000 };
          }
          return undefined;
        },
      };
      const running = await start(spec);
      await expect.poll(() => deliveries).toEqual([1, 1, 1]);
      await place.send({ n: 2 }, { n: 3 });
      await expect.poll(() => others).toEqual([2, 3]);
      expect(running.explain(first ?? 0).state).toBe('backingOff');
      // It goes back for the rest of its time: no replica gets it at once.
      expect((await running.drain()).released).toBe(1);
      await start(spec, undefined, await place.connect());
      await place.send({ n: 4 });
      await expect.poll(() => others).toEqual([2, 3, 4]);
      await expect.poll(() => place.left()).toBe(1);
      expect(deliveries.length).toBe(3);
    });

    row('an ordered message: the others of its key wait for it', async ({ place, start, expect }) => {
      const handled: number[] = [];
      let snoozed = false;
      await place.send({ n: 1, key: 'a' }, { n: 2, key: 'a' });
      await start({
        ...base(place),
        flow: { ...base(place).flow, orderBy: ({ data }) => data.key },
        handle: async ({ data }) => {
          if (!snoozed) {
            snoozed = true;
            return { kind: 'snooze', forMs: 50 };
          }
          handled.push(data.n);
          return undefined;
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(handled).toEqual([1, 2]);
    });
  });

  describe('a message is cancelled', () => {
    row(
      'while its handler runs: its signal is aborted, and it is a dead letter, also when the handler returns normally',
      async ({ place, start, expect }) => {
        const reasons: unknown[] = [];
        const [sequence = 0] = await place.send({ n: 1 });
        const running = await start({
          ...base(place),
          handle: async (_, { signal }) => {
            await new Promise((resolve) => {
              signal.addEventListener('abort', resolve);
            });
            reasons.push(signal.reason);
          },
        });
        await expect.poll(() => running.snapshot().inFlight).toBe(1);
        expect(running.cancel(sequence, { reason: 'the customer withdrew it' })).toBe(true);
        await expect.poll(() => place.left()).toBe(0);
        expect(reasons).toMatchObject([{ name: 'HandlerAborted', code: 'CANCELLED' }]);
        const [record] = await place.deadLetters();
        expect(record?.headers.get('Dlq-Reason')).toBe('cancelled');
        expect(record?.headers.get('Dlq-Detail')).toBe('the customer withdrew it');
        expect(running.cancel(sequence)).toBe(false);
      },
    );

    row('while it waits for its retry: it is not run again', async ({ place, start, expect }) => {
      let runs = 0;
      const [sequence = 0] = await place.send({ n: 1, key: 'a' });
      const running = await start({
        ...base(place),
        retry: { maxAttempts: 3, baseMs: 60_000, maxMs: 60_000, jitter: 'none' },
        flow: { ...base(place).flow, orderBy: ({ data }) => data.key },
        handle: async () => {
          runs++;
          throw new Error('down');
        },
      });
      await expect.poll(() => running.snapshot().parked).toBe(1);
      expect(running.cancel(sequence)).toBe(true);
      await expect.poll(() => place.left()).toBe(0);
      expect(runs).toBe(1);
      expect((await place.deadLetters()).map(({ headers }) => headers.get('Dlq-Reason'))).toEqual(['cancelled']);
    });

    row('that is not held here: nothing happens', async ({ place, start, expect }) => {
      const running = await start({ ...base(place), handle: async () => undefined });
      expect(running.cancel(4711)).toBe(false);
    });
  });

  describe('handlers by subject', () => {
    row(
      'an equal name comes before a pattern, and what fits none is a dead letter',
      async ({ place, start, expect }) => {
        const handled: string[] = [];
        await place.store('{"n":1}', { lane: 'made' });
        await place.store('{"n":2}', { lane: 'other.deep' });
        await place.store('{"n":3}', { lane: 'none' });
        await start({
          ...base(place),
          handle: bySubject({
            [`${place.stream}.*.*`]: async () => void handled.push('pattern'),
            [`${place.stream}.made`]: async () => void handled.push('name'),
          }),
        });
        await expect.poll(() => place.left()).toBe(0);
        expect(handled.toSorted()).toEqual(['name', 'pattern']);
        expect((await place.deadLetters()).map(({ body }) => body)).toEqual(['{"n":3}']);
      },
    );
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
