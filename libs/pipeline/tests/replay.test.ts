import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import type { ReplayProgress } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import type { ClosableNatsPort } from '../src/nats/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

let source: NatsSource;
let port: ClosableNatsPort;
beforeAll(async () => {
  source = await natsSource();
  port = natsPort(source.admin);
  await source.jsm.streams.add({ name: 'HISTORY', subjects: ['history.>'] });
  await source.jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
  await source.jsm.consumers.add('HISTORY', { durable_name: 'live', ack_policy: 'explicit', max_deliver: -1 });
  for (let n = 1; n <= 100; n++)
    await source.js.publish(`history.${n % 2 === 0 ? 'even' : 'odd'}`, JSON.stringify({ n }));
});
afterAll(async () => {
  port.close();
  await source.close();
});

function cache() {
  const seen: number[] = [];
  const pipeline = definePipeline<Job>({
    name: 'cache',
    sources: [{ stream: 'HISTORY', consumer: 'live' }],
    decode: decodeJson,
    flow: { concurrency: 8, expiresMs: 400, idleHeartbeatMs: 100 },
    retry: { maxAttempts: 2, baseMs: 1, maxMs: 5 },
    handle: async ({ data }, context) => {
      context.emit('history.odd', { n: -1 });
      if (data.n === 13) throw new Error('unlucky');
      seen.push(data.n);
    },
  });
  return { seen, pipeline };
}

describe('replaying history', () => {
  test('from the first message: everything once, nothing emitted, nothing dead-lettered, the live durable untouched', async () => {
    const { seen, pipeline } = cache();
    const steps: ReplayProgress[] = [];
    const replay = await pipeline.replay(
      { nats: port, deps: undefined },
      { from: 'first', onProgress: (step) => steps.push(step) },
    );
    const end = await replay.done;
    expect(end).toEqual({ done: 100, total: 100, failed: 1, sequence: 100 });
    expect(new Set(seen).size).toBe(99);
    expect(steps).toHaveLength(100);
    expect((await source.jsm.streams.info('HISTORY')).state.messages).toBe(100);
    expect((await source.jsm.streams.info('DLQ')).state.messages).toBe(0);
    expect((await source.jsm.consumers.info('HISTORY', 'live')).delivered.consumer_seq).toBe(0);
    const names = await source.jsm.consumers.list('HISTORY').next();
    expect(names.map((consumer) => consumer.name)).toEqual(['live']);
  });

  test('from a sequence, and only some subjects', async () => {
    const { seen, pipeline } = cache();
    const replay = await pipeline.replay(
      { nats: port, deps: undefined },
      { from: { sequence: 91 }, subjects: ['history.even'] },
    );
    expect(await replay.done).toMatchObject({ done: 5, total: 5 });
    expect(seen.toSorted((a, b) => a - b)).toEqual([92, 94, 96, 98, 100]);
  });

  test('from a time', async () => {
    const { pipeline } = cache();
    const replay = await pipeline.replay(
      { nats: port, deps: undefined },
      { from: { time: new Date(Date.now() + 60_000) } },
    );
    expect(await replay.done).toMatchObject({ done: 0, total: 0 });
  });

  test('following: history first, then what comes, until it is stopped', async () => {
    const { seen, pipeline } = cache();
    const replay = await pipeline.replay({ nats: port, deps: undefined }, { from: { sequence: 100 }, until: 'follow' });
    await expect.poll(() => seen).toEqual([100]);
    await source.js.publish('history.odd', JSON.stringify({ n: 101 }));
    await expect.poll(() => seen).toEqual([100, 101]);
    expect(await replay.stop()).toMatchObject({ done: 2 });
  });

  test('a work queue has no history, and the error says so', async () => {
    await source.jsm.streams.add({ name: 'QUEUE', subjects: ['queue.>'], retention: 'workqueue' });
    await source.jsm.consumers.add('QUEUE', { durable_name: 'live', ack_policy: 'explicit' });
    const { pipeline } = cache();
    await expect(pipeline.replay({ nats: port, deps: undefined }, { stream: 'QUEUE', from: 'first' })).rejects.toThrow(
      'QUEUE is a work queue',
    );
  });

  test('a consumer that is lost on the way is made again, and no message counts twice', async () => {
    const seen = new Set<number>();
    const slow = Promise.withResolvers<void>();
    const lost = Promise.withResolvers<void>();
    const pipeline = definePipeline<Job>({
      name: 'lost',
      sources: [{ stream: 'HISTORY', consumer: 'live' }],
      decode: decodeJson,
      flow: { concurrency: 4, prefetch: 0, expiresMs: 400, idleHeartbeatMs: 100 },
      handle: async ({ data }) => {
        // The new consumer begins at the first message, which is in hand until the last.
        if (data.n === 1) await slow.promise;
        else if (seen.size >= 50) await lost.promise;
        seen.add(data.n);
      },
    });
    const { messages } = (await source.jsm.streams.info('HISTORY')).state;
    const replay = await pipeline.replay({ nats: port, deps: undefined }, { from: 'first' });
    await expect.poll(() => seen.size).toBeGreaterThanOrEqual(50);
    for await (const { name } of source.jsm.consumers.list('HISTORY')) {
      if (name.startsWith('replay')) await source.jsm.consumers.delete('HISTORY', name);
    }
    lost.resolve();
    await expect.poll(() => seen.size).toBe(messages - 1);
    slow.resolve();
    expect(await replay.done).toMatchObject({ done: messages, total: messages, failed: 0 });
    expect(seen.size).toBe(messages);
  });
});
