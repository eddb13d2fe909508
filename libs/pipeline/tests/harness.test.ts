import { describe, expect, test } from 'vitest';
import { definePipeline, PermanentError } from '../src/index.ts';
import type { Middleware } from '../src/index.ts';
import { createHarness } from '../src/testing/index.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const order: string[] = [];
const layer =
  (name: string): Middleware<Job, { rate: number }> =>
  (next) =>
  async (message, context) => {
    order.push(`${name} in`);
    const outcome = await next(message, context);
    order.push(`${name} out`);
    return outcome;
  };
const pipeline = definePipeline<Job, { rate: number }>({
  name: 'harnessed',
  sources: [{ stream: 'ORDERS', consumer: 'price' }],
  decode: decodeJson,
  retry: { maxAttempts: 3, baseMs: 100, maxMs: 1000, jitter: 'none' },
  timeout: { handlerMs: 50, graceMs: 10 },
  use: [layer('outer'), layer('inner')],
  handle: async ({ data }, context) => {
    if (data.n === 1) throw new Error('flaky');
    if (data.n === 2) throw new PermanentError('bad');
    if (data.n === 3) await new Promise((resolve) => setTimeout(resolve, 200));
    if (data.n === 4) return { kind: 'skip', reason: 'not ours' };
    context.emit('prices.new', { price: data.n * context.deps.rate });
    return undefined;
  },
});
const harness = createHarness(pipeline, { rate: 2 });

describe('the harness runs a delivery through the whole pipeline without a broker', () => {
  test('success: what was emitted, under which id', async () => {
    const settlement = await harness.deliver({ n: 21 });
    expect(settlement.outcome).toBe('ack');
    expect(settlement.emitted).toMatchObject([{ subject: 'prices.new', data: { price: 42 } }]);
    expect(settlement.emitted[0]?.id).toMatch(/^harnessed:ORDERS:\d+:\d+:[\w-]{22}$/);
  });

  test('bytes go through the real decoder', async () => {
    expect(await harness.deliver(new TextEncoder().encode('{"n":7}'))).toMatchObject({ outcome: 'ack' });
    expect(await harness.deliver(new TextEncoder().encode('{'))).toMatchObject({
      outcome: 'deadLetter',
      deadLetter: { headers: { 'Dlq-Reason': 'decode' } },
    });
  });

  test('failure: the retry policy decides, by attempt', async () => {
    expect(await harness.deliver({ n: 1 })).toEqual({ outcome: 'retry', delayMs: 100, reason: 'flaky', emitted: [] });
    expect(await harness.deliver({ n: 1 }, { attempt: 2 })).toMatchObject({ outcome: 'retry', delayMs: 200 });
    expect(await harness.deliver({ n: 1 }, { attempt: 3 })).toMatchObject({
      outcome: 'deadLetter',
      deadLetter: { subject: 'dlq.ORDERS.price', headers: { 'Dlq-Reason': 'exhausted', 'Dlq-Deliveries': '3' } },
    });
    expect(await harness.deliver({ n: 2 })).toMatchObject({ outcome: 'deadLetter', reason: 'bad' });
    expect(await harness.deliver({ n: 21 }, { attempt: 4 })).toMatchObject({ outcome: 'ack' });
  });

  test('the timeout is real', async () => {
    const { outcome, reason } = await harness.deliver({ n: 3 });
    expect(outcome).toBe('retry');
    expect(reason).toContain('did not finish within 50 ms');
  });

  test('a skip says so, and middleware wraps in the order it is listed', async () => {
    order.length = 0;
    expect(await harness.deliver({ n: 4 }, { id: 'x', subject: 'a.b', headers: { h: '1' } })).toMatchObject({
      outcome: 'skip',
    });
    expect(order).toEqual(['outer in', 'inner in', 'inner out', 'outer out']);
  });

  test('a batch: one result for each message', async () => {
    const sizes: number[] = [];
    const batched = createHarness(
      definePipeline<Job>({
        name: 'batched',
        sources: [{ stream: 'ORDERS', consumer: 'price' }],
        decode: decodeJson,
        retry: { jitter: 'none', baseMs: 100 },
        batch: { maxSize: 10, maxWaitMs: 10 },
        handleBatch: async (messages) => {
          sizes.push(messages.length);
          return messages.map(({ data }) => {
            if (data.n === 1) return { kind: 'retry', reason: 'later' };
            if (data.n === 2) return { kind: 'deadLetter', reason: 'bad' };
            return data.n === 3 ? { kind: 'snooze', forMs: 5 } : undefined;
          });
        },
      }),
      undefined,
    );
    const items = [{ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 }, new TextEncoder().encode('{')];
    expect(await batched.deliverBatch(items)).toMatchObject([
      { outcome: 'ack' },
      { outcome: 'retry', delayMs: 100, reason: 'later' },
      { outcome: 'deadLetter', reason: 'bad' },
      { outcome: 'snooze', delayMs: 5 },
      { outcome: 'deadLetter', deadLetter: { headers: { 'Dlq-Reason': 'decode' } } },
    ]);
    expect(sizes).toEqual([4]);
  });
});
