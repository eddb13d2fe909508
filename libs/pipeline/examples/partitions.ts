// prints: ann: packed (parcels.ann.packed)
// prints: ann: sent (parcels.ann.sent)
// prints: reads 8 of 8
// #region shown
import { definePipeline } from '@sluice/pipeline';
import { connectNats } from '@sluice/pipeline/nats';

const nats = await connectNats({ servers: process.env['NATS_URL'] ?? '127.0.0.1:4222' });
const ship = definePipeline({
  name: 'ship',
  sources: [{ stream: 'parcels', consumer: 'ship', partitions: 8, partitionBy: 'parcels.*.>' }], // the * is the key
  decode: (bytes) => new TextDecoder().decode(bytes),
  handle: async ({ data, key, subject }) => console.log(`${key}: ${data} (${subject})`),
});
await ship.ensure(nats, { subjects: ['parcels.*.>'] });
const running = await ship.start({ nats, deps: undefined });
// #endregion
await nats.publish('parcels.ann.packed', 'packed');
await nats.publish('parcels.ann.sent', 'sent');
const deadline = Date.now() + 10_000;
while (running.snapshot().partitions < 8 && Date.now() < deadline)
  await new Promise((resolve) => setTimeout(resolve, 50));
console.log(`reads ${running.snapshot().partitions} of 8`);
setTimeout(() => void running.drain().then(() => nats.disconnect()), 1000);
