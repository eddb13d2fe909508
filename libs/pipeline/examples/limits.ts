import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('mail');
let down = true;
const send = async (id: string): Promise<void> => {
  if (down) throw new Error(`mail server down, ${id} waits`);
};
// #region shown
import { definePipeline } from '@sluice/pipeline';

const mail = definePipeline({
  name: 'mail',
  sources: [{ stream: 'orders', consumer: 'mail' }],
  decode: decodeOrder,
  flow: { concurrency: 4, rate: { limit: 50, perMs: 1000, burst: 10 } }, // running.setRate(...) changes it
  timeout: { handlerMs: 5000 }, // context.signal is aborted then
  retry: { maxAttempts: 100, baseMs: 10, maxMs: 50 },
  breaker: { minSamples: 5, failureRatio: 0.5, coolDownMs: 200 }, // stop pulling, probe with one message
  handle: async ({ data }) => send(data.id),
});
// #endregion
const running = await mail.start({
  nats,
  deps: undefined,
  observe: (event) => {
    if (event.type !== 'state.changed') return;
    if (event.to === 'tripped') down = false;
    console.log(`${event.from} -> ${event.to}`);
  },
});
await place('mail', ...Array.from({ length: 8 }, (_, n) => ({ id: `o${n}`, customer: 'c' })));
await workedOff();
await running.drain();
await close();
// prints: running -> tripped
// prints: tripped -> running
