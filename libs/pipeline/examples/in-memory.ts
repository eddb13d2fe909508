import { decodeOrder } from './setup.ts';
// #region shown
import { definePipeline } from '@sluice/pipeline';
import { startInMemory } from '@sluice/pipeline/testing';

const pipeline = definePipeline({
  name: 'weigh',
  sources: [{ stream: 'orders', consumer: 'weigh' }],
  decode: decodeOrder,
  retry: { baseMs: 60_000, jitter: 'none' },
  batch: { maxSize: 100, maxWaitMs: 5_000 },
  handleBatch: async (messages) => {
    console.log(`weighed ${messages.map(({ data }) => data.id).join()}`);
    return messages.map(({ data, attempt }) => (data.id === 'b' && attempt === 1 ? { kind: 'retry' } : undefined));
  },
});

await using orders = await startInMemory(pipeline, { deps: undefined });
await orders.send([
  { id: 'a', customer: 'ann' },
  { id: 'b', customer: 'bob' },
]);
await orders.advance(5_000); // the batch closes: a is done, b failed
await orders.advance(61_000); // b comes again, alone
console.log(orders.settled.map(({ settlement }) => settlement));
// #endregion
// prints: weighed a,b
// prints: weighed b
// prints: [ 'ack', 'retry', 'ack' ]
