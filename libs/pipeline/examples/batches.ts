import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('invoice');
// #region shown
import { definePipeline } from '@sluice/pipeline';

const invoice = definePipeline({
  name: 'invoice',
  sources: [{ stream: 'orders', consumer: 'invoice' }],
  decode: decodeOrder,
  flow: { concurrency: 2 }, // batches at once
  batch: { maxSize: 100, maxBytes: 500_000, maxWaitMs: 200, by: ({ data }) => data.customer },
  handleBatch: async (messages) => {
    console.log(`${messages[0]?.data.customer}: ${messages.length}`);
    return messages.map(({ data }) => (data.id === 'bad' ? { kind: 'deadLetter', reason: 'no price' } : undefined));
  },
});
// #endregion
await place(
  'invoice',
  ...['a', 'b', 'a', 'b', 'a'].map((customer, n) => ({ id: n === 1 ? 'bad' : `o${n}`, customer })),
);
const running = await invoice.start({ nats, deps: undefined });
await workedOff();
await running.drain();
await close();
// prints: a: 3
// prints: b: 2
