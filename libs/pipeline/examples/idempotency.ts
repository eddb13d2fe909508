import { decodeOrder, setUp } from './setup.ts';
const { nats, manager, place, workedOff, close } = await setUp('charge');
await manager.streams.delete('KV_charged').catch(() => false);
await manager.streams.add({ name: 'KV_charged', subjects: ['$KV.charged.>'], max_msgs_per_subject: 1 });
// #region shown
import { definePipeline, kvIdempotencyStore } from '@sluice/pipeline';

const charge = definePipeline({
  name: 'charge',
  sources: [{ stream: 'orders', consumer: 'charge' }],
  decode: decodeOrder,
  idempotency: {
    key: ({ data }) => data.id, // what makes two messages the same work
    store: kvIdempotencyStore(nats, { bucket: 'charged' }), // shared by all replicas; memoryIdempotencyStore() for one process
    ttlMs: 24 * 3600_000,
  },
  handle: async ({ data }, { fence }) =>
    console.log(`charged ${data.id}, fence ${fence === undefined ? 'none' : 'held'}`),
});
// #endregion
const running = await charge.start({ nats, deps: undefined });
await place('charge', { id: 'a', customer: 'c' }, { id: 'a', customer: 'c' });
await workedOff();
await running.drain();
await close();
// prints: charged a, fence held
