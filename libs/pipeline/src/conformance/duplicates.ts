import { describe } from 'vitest';
import { memoryIdempotencyStore } from '../index.ts';
import type { IdempotencyStore, PipelineSpec } from '../index.ts';
import { base, gate, recordEvents, redeliver } from './source.ts';
import type { Job, Row } from './source.ts';

/** The same work arriving more than once. */
export function duplicateRows(row: Row): void {
  describe('a duplicate', () => {
    row('of finished work is acknowledged and counted, its handler does not run', async ({ place, start, expect }) => {
      const events = recordEvents();
      let calls = 0;
      await place.send({ n: 1 }, { n: 1 });
      await start(
        {
          ...base(place),
          flow: { ...base(place).flow, concurrency: 1 },
          idempotency: { key: ({ data }) => `job-${data.n}`, store: memoryIdempotencyStore() },
          handle: async () => {
            calls++;
          },
        },
        events.observe,
      );
      await expect.poll(() => place.left()).toBe(0);
      expect(calls).toBe(1);
      expect(events.of('message.settled').map(({ as }) => as)).toEqual(['ack', 'duplicate']);
    });

    row(
      'of work in progress is nacked with a delay and comes back to find it done',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const working = gate();
        const inner = memoryIdempotencyStore();
        const store: IdempotencyStore = {
          ...inner,
          begin: async (key, claimMs) => {
            const claim = await inner.begin(key, claimMs);
            return claim.state === 'busy' ? { ...claim, retryAfterMs: 30 } : claim;
          },
        };
        let calls = 0;
        await place.send({ n: 1 }, { n: 1 });
        await start(
          {
            ...base(place),
            idempotency: { key: ({ data }) => `job-${data.n}`, store },
            handle: async () => {
              calls++;
              await working.opened;
            },
          },
          events.observe,
        );
        // More often than maxAttempts: waiting for its twin must not make a poison of it.
        await expect
          .poll(() => events.of('message.settled').filter(({ as }) => as === 'busy').length)
          .toBeGreaterThan(3);
        working.open();
        await expect.poll(() => place.left()).toBe(0);
        expect(calls).toBe(1);
        expect(await place.deadLetters()).toEqual([]);
        expect(events.of('message.settled').at(-1)?.as).toBe('duplicate');
      },
    );

    row('a failed attempt does not look like one', async ({ place, start, expect }) => {
      let calls = 0;
      await place.send({ n: 1 });
      await start({
        ...base(place),
        idempotency: { key: ({ data }) => `job-${data.n}`, store: memoryIdempotencyStore() },
        handle: async () => {
          calls++;
          if (calls === 1) throw new Error('once');
        },
      });
      await expect.poll(() => place.left()).toBe(0);
      expect(calls).toBe(2);
    });

    row(
      'a worker whose claim was taken over is aborted and leaves the message to the new holder',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const inner = memoryIdempotencyStore();
        const store: IdempotencyStore = { ...inner, renew: async () => false };
        const reasons: unknown[] = [];
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            idempotency: { key: ({ data }) => `job-${data.n}`, store, claimMs: 100 },
            handle: async ({ deliveries }, { signal }) => {
              if (deliveries > 1) return;
              await new Promise<void>((resolve) => {
                signal.addEventListener('abort', () => resolve());
              });
              reasons.push(signal.reason);
            },
          },
          events.observe,
        );
        await expect.poll(() => reasons).toMatchObject([{ code: 'CLAIM_LOST' }]);
        // Neither acked nor given back by us: it comes again when ack_wait is over.
        await expect.poll(() => place.left()).toBe(0);
        expect(events.of('message.settled').map(({ as }) => as)).toEqual(['busy', 'ack']);
        expect(events.of('claim.lost')).toHaveLength(1);
      },
      { ackWaitMs: 600 },
    );

    row('without its store a message waits: it is neither run nor lost', async ({ place, start, expect }) => {
      const events = recordEvents();
      const inner = memoryIdempotencyStore();
      let broken = true;
      const store: IdempotencyStore = {
        ...inner,
        begin: (key, claimMs) => (broken ? Promise.reject(new Error('store down')) : inner.begin(key, claimMs)),
      };
      await place.send({ n: 1 });
      await start(
        { ...base(place), idempotency: { key: () => 'one', store }, handle: async () => undefined },
        events.observe,
      );
      await expect.poll(() => events.of('idempotency.failed').length).toBeGreaterThan(1);
      expect(events.of('message.started')).toEqual([]);
      broken = false;
      await expect.poll(() => place.left()).toBe(0);
      // However long the outage, it uses up no delivery: the message was kept here.
      expect(events.of('message.started').map(({ message }) => [message.attempt, message.deliveries])).toEqual([
        [1, 1],
      ]);
    });

    row('a store that does not answer fails after its timeout', async ({ place, start, expect }) => {
      const events = recordEvents();
      const inner = memoryIdempotencyStore();
      let silent = true;
      const store: IdempotencyStore = {
        ...inner,
        begin: (key, claimMs) => (silent ? new Promise(() => undefined) : inner.begin(key, claimMs)),
      };
      await place.send({ n: 1 });
      await start(
        { ...base(place), idempotency: { key: () => 'one', store, timeoutMs: 30 }, handle: async () => undefined },
        events.observe,
      );
      await expect.poll(() => events.of('idempotency.failed').length).toBeGreaterThan(1);
      silent = false;
      await expect.poll(() => place.left()).toBe(0);
    });

    row('a renewal on its way does not make a finished message look taken over', async ({ place, start, expect }) => {
      const events = recordEvents();
      const inner = memoryIdempotencyStore();
      const begun = gate();
      const renewing = gate();
      const store: IdempotencyStore = {
        ...inner,
        // The claim is gone when the renewal gets there, as with a compare-and-set that lost to the completion.
        renew: async (key, fence, claimMs) => {
          begun.open();
          await renewing.opened;
          return inner.renew(key, fence, claimMs);
        },
      };
      await place.send({ n: 1 });
      await start(
        {
          ...base(place),
          idempotency: { key: () => 'one', store, claimMs: 100 },
          handle: async () => {
            await begun.opened;
            setTimeout(() => renewing.open(), 50);
          },
        },
        events.observe,
      );
      await expect.poll(() => place.left()).toBe(0);
      expect(events.of('claim.lost')).toEqual([]);
      expect(events.of('message.settled').map(({ as }) => as)).toEqual(['ack']);
    });
  });

  describe('the same sequence arrives while it is still running here', () => {
    row('the newer delivery joins the running one, one settlement covers both', async ({ place, start, expect }) => {
      const events = recordEvents();
      const working = gate();
      let calls = 0;
      const [sequence = 0] = await place.send({ n: 1 });
      await start(
        {
          ...base(place),
          handle: async () => {
            calls++;
            await working.opened;
          },
        },
        events.observe,
      );
      await expect.poll(() => calls).toBe(1);
      await redeliver(place, sequence);
      await expect.poll(() => events.of('message.alreadyHeld').length).toBe(1);
      working.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(await place.ackPending()).toBe(0);
      expect(calls).toBe(1);
      expect(events.of('message.settled')).toHaveLength(1);
    });
  });

  describe('ack_wait is lowered while a handler runs', () => {
    row('heartbeats follow, no other replica gets its message', async ({ place, start, expect }) => {
      const events = recordEvents();
      const working = gate();
      let calls = 0;
      const spec: PipelineSpec<Job, undefined> = {
        ...base(place),
        handle: async () => {
          calls++;
          await working.opened;
        },
      };
      await start(spec, events.observe);
      await place.send({ n: 1 });
      await expect.poll(() => calls).toBe(1);
      await start(spec, undefined, await place.connect());
      await place.setAckWait(3_000);
      // One each second then: twice the new ack_wait has passed by the seventh.
      await expect.poll(() => events.of('heartbeats.sent').length, { timeout: 30_000 }).toBeGreaterThanOrEqual(7);
      working.open();
      await expect.poll(() => place.left()).toBe(0);
      expect(calls).toBe(1);
    });
  });

  describe('a handler takes longer than ack_wait', () => {
    row(
      'heartbeats keep its message, it is delivered once',
      async ({ place, start, expect }) => {
        const events = recordEvents();
        const working = gate();
        let calls = 0;
        await place.send({ n: 1 });
        await start(
          {
            ...base(place),
            handle: async () => {
              calls++;
              await working.opened;
            },
          },
          events.observe,
        );
        // Three in each ack_wait: more than twice of that has passed by the seventh.
        await expect.poll(() => events.of('heartbeats.sent').length, { timeout: 30_000 }).toBeGreaterThanOrEqual(7);
        working.open();
        await expect.poll(() => place.left()).toBe(0);
        expect(calls).toBe(1);
        expect(events.of('message.alreadyHeld')).toEqual([]);
      },
      { ackWaitMs: 1_600 },
    );
  });
}
