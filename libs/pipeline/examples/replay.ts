import { decodeOrder, setUp } from './setup.ts';
const { nats, manager, close } = await setUp();
await manager.streams.delete('history').catch(() => false);
await manager.streams.add({ name: 'history', subjects: ['history.>'] });
await manager.consumers.add('history', { durable_name: 'live', ack_policy: 'explicit', max_deliver: -1 });
for (const id of ['a', 'b', 'c']) await nats.publish('history.order', JSON.stringify({ id, customer: 'c' }));
// #region shown
import { definePipeline } from '@sluice/pipeline';

const cache = new Map<string, string>();
const fill = definePipeline({
  name: 'fill-cache',
  sources: [{ stream: 'history', consumer: 'live' }],
  decode: decodeOrder,
  handle: async ({ data }) => void cache.set(data.id, data.customer),
});
const replay = await fill.replay(
  { nats, deps: undefined },
  { from: 'first', onProgress: ({ done, total }) => console.log(`${done}/${total}`) },
);
await replay.done; // from: { sequence } | { time }, until: 'follow', subjects: [...]
// #endregion
console.log(`cache holds ${cache.size}`);
await close();
// prints: 3/3
// prints: cache holds 3
