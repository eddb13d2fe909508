import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('pay', 'pay-again');
import { definePipeline, PermanentError } from '@sluice/pipeline';

let broken = true;
const pay = definePipeline({
  name: 'pay',
  sources: [
    { stream: 'orders', consumer: 'pay', weight: 4 },
    { stream: 'orders', consumer: 'pay-again', weight: 1 },
  ],
  decode: decodeOrder,
  handle: async ({ data }) => {
    if (broken) throw new PermanentError('currency unknown');
    console.log(`paid ${data.id}`);
  },
});
const running = await pay.start({ nats, deps: undefined });
await place('pay', { id: 'a', customer: 'c' });
await workedOff();
broken = false;
// #region shown
import { readDeadLetters, redriveDeadLetters } from '@sluice/pipeline';

for await (const letter of readDeadLetters(nats, { stream: 'dlq', subject: 'dlq.orders.pay' })) {
  console.log(`${letter.reason}: ${letter.detail} (${letter.origin.subject})`);
}
const report = await redriveDeadLetters(nats, {
  stream: 'dlq',
  subject: 'dlq.orders.pay',
  to: 'orders.pay-again', // a subject only this pipeline reads: the original subject may have other readers
  ratePerSecond: 50,
  maxRedrives: 3, // dryRun: true only reports
});
console.log(`${report.replayed} replayed, ${report.skipped.length} left`);
// #endregion
await workedOff();
await running.drain();
await close();
// prints: permanent: currency unknown (orders.pay)
// prints: 1 replayed, 0 left
// prints: paid a
