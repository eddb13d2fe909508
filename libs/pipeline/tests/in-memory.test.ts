import { expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { startInMemory } from '../src/testing/index.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const source = { stream: 'orders', consumer: 'worker' };

test('a batch closes when its time is over, which the test moves', async () => {
  const batches: number[][] = [];
  const pipeline = definePipeline<Job>({
    name: 'batched',
    sources: [source],
    decode: decodeJson,
    batch: { maxSize: 3, maxWaitMs: 60_000 },
    handleBatch: async (messages) => void batches.push(messages.map(({ data }) => data.n)),
  });
  await using started = await startInMemory(pipeline, { deps: undefined });
  await started.send([{ n: 1 }, { n: 2 }]);
  await started.advance(59_000);
  expect(batches).toEqual([]);
  await started.advance(2_000);
  expect(batches).toEqual([[1, 2]]);
  await started.send([{ n: 3 }, { n: 4 }, new TextEncoder().encode('{"n":5}')]);
  await started.advance(1);
  expect(batches).toEqual([
    [1, 2],
    [3, 4, 5],
  ]);
  expect(started.left()).toBe(0);
});

test('order per key, retries and dead letters run their course', async () => {
  const handled: string[] = [];
  const pipeline = definePipeline<Job, { readonly broken: Set<number> }>({
    name: 'ordered',
    sources: [source],
    decode: decodeJson,
    flow: { concurrency: 8, orderBy: ({ data }) => data.key },
    retry: { maxAttempts: 2, baseMs: 10_000, jitter: 'none' },
    handle: async ({ data, attempt }, context) => {
      handled.push(`${data.key ?? ''}${data.n}.${attempt}`);
      if (context.deps.broken.has(data.n)) throw new Error('broken');
      context.emit('done.one', { n: data.n });
    },
  });
  await using started = await startInMemory(pipeline, { deps: { broken: new Set([1]) } });
  const [first] = await started.send([
    { n: 1, key: 'a' },
    { n: 2, key: 'a' },
    { n: 3, key: 'b' },
  ]);
  expect(handled).toEqual(['a1.1', 'b3.1']);
  await started.advance(10_000);
  expect(handled).toEqual(['a1.1', 'b3.1', 'a1.2', 'a2.1']);
  expect(started.settled.map(({ sequence, settlement }) => [sequence, settlement])).toContainEqual([
    first,
    'deadLetter',
  ]);
  expect(started.deadLetters()).toHaveLength(1);
  expect(started.emitted().map(({ data }) => decodeJson(data).n)).toEqual([3, 2]);
  expect(started.left()).toBe(0);
});

test('a handler runs out of its time without the test waiting for it', async () => {
  const pipeline = definePipeline<Job>({
    name: 'slow',
    sources: [source, { stream: 'orders', consumer: 'express' }],
    decode: decodeJson,
    timeout: { handlerMs: 60_000 },
    handle: ({ subject }, { signal }) =>
      subject === 'orders.express.test'
        ? Promise.resolve()
        : new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new Error('aborted')));
          }),
  });
  await using started = await startInMemory(pipeline, { deps: undefined });
  await started.send([{ n: 1 }]);
  await started.send([{ n: 2 }], { source: 1 });
  expect(started.settled.map(({ settlement }) => settlement)).toEqual(['ack']);
  await started.advance(61_000);
  expect(started.settled.map(({ settlement }) => settlement)).toEqual(['ack', 'retry']);
});
