import { decodeOrder, setUp } from './setup.ts';
const { nats, manager, place, workedOff, close } = await setUp('ship');
// #region shown
import { definePipeline } from '@sluice/pipeline';

const ship = definePipeline({
  name: 'ship',
  sources: [{ stream: 'orders', consumer: 'ship' }],
  decode: decodeOrder,
  handle: async ({ data }, context) => {
    context.emit('shipped.parcel', { order: data.id }); // stored (PubAck) before the ack, or not at all
    context.log.info({ order: data.id }, 'shipped');
  },
});
// #endregion
const running = await ship.start({ nats, deps: undefined });
await place('ship', { id: 'a', customer: 'c' });
await workedOff();
console.log(`results: ${(await manager.streams.info('shipped')).state.messages}`);
await running.drain();
await close();
// prints: results: 1
