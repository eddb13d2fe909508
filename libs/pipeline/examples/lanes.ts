import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('express', 'normal');
// #region shown
import { definePipeline } from '@sluice/pipeline';

const deliver = definePipeline({
  name: 'deliver',
  sources: [
    { stream: 'orders', consumer: 'express', weight: 3 }, // three of four turns while both have work
    { stream: 'orders', consumer: 'normal', weight: 1 }, // never starved
  ],
  decode: decodeOrder,
  flow: { concurrency: 4, orderBy: ({ data }) => data.customer }, // one at a time per customer, in order
  handle: async ({ data }) => console.log(`${data.customer} gets ${data.id}`),
});
// #endregion
await place('express', { id: 'one', customer: 'ann' }, { id: 'two', customer: 'ann' });
await place('normal', { id: 'three', customer: 'bob' });
const running = await deliver.start({ nats, deps: undefined });
await workedOff();
await running.drain();
await close();
// prints: ann gets one
// prints: ann gets two
// prints: bob gets three
