import { decodeOrder, setUp } from './setup.ts';
const { manager, nats, place, workedOff, close } = await setUp('pack');
const ttl = 60_000_000_000;
for (const name of ['limits', 'attempts'])
  await manager.streams.add({ name: `KV_${name}`, subjects: [`$KV.${name}.>`], max_age: ttl, max_msgs_per_subject: 1 });
let most = 0;
let now = 0;
const pack = async (): Promise<void> => {
  most = Math.max(most, ++now);
  await new Promise((resolve) => setTimeout(resolve, 20));
  now--;
};
// #region shown
import { definePipeline, kvAttemptStore, natsLimits } from '@sluice/pipeline';

const fair = definePipeline({
  name: 'fair',
  sources: [{ stream: 'orders', consumer: 'pack' }],
  decode: decodeOrder,
  limits: {
    key: ({ data }) => data.customer, // customers take turns
    perKey: { concurrency: 2 }, // and have two at work at most
    all: { perSecond: 50, burst: 10 }, // all of them together
    shared: natsLimits(nats, { bucket: 'limits' }), // over all replicas; a bucket with a ttl
  },
  attempts: { store: kvAttemptStore(nats, { bucket: 'attempts' }) },
  handle: pack,
});
// #endregion
const running = await fair.start({ nats, deps: undefined });
await place('pack', ...Array.from({ length: 12 }, (_, n) => ({ id: `o${n}`, customer: 'c' })));
await workedOff();
await running.drain();
console.log(`${most} at once`);
await close();
// prints: 2 at once
