import { describe } from 'vitest';
import { memoryIdempotencyStore, PermanentError, RetryAfterError } from '../index.ts';
import { base, recordEvents } from './source.ts';
import type { Row } from './source.ts';

/** A handler that fails, and who decides when it runs again. */
export function retryRows(row: Row): void {
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
}
