import { decodeOrder } from './setup.ts';
// #region shown
import { definePipeline } from '@sluice/pipeline';
import { createHarness } from '@sluice/pipeline/testing';

const pipeline = definePipeline({
  name: 'check',
  sources: [{ stream: 'orders', consumer: 'check' }],
  decode: decodeOrder,
  retry: { maxAttempts: 2, jitter: 'none', baseMs: 100 },
  handle: async ({ data }, context) => {
    if (data.customer === '') throw new Error('who?');
    context.emit('shipped.checked', { id: data.id });
  },
});

const test = createHarness(pipeline, undefined);
console.log(await test.deliver({ id: 'a', customer: 'ann' }).then(({ outcome, emitted }) => [outcome, emitted.length]));
console.log(await test.deliver({ id: 'b', customer: '' }).then(({ outcome, delayMs }) => [outcome, delayMs]));
console.log(
  await test.deliver({ id: 'b', customer: '' }, { attempt: 2 }).then(({ outcome, reason }) => [outcome, reason]),
);
console.log(await test.deliver(new TextEncoder().encode('{"id":')).then(({ outcome }) => outcome));
// #endregion
// prints: [ 'ack', 1 ]
// prints: [ 'retry', 100 ]
// prints: [ 'deadLetter', 'who?' ]
// prints: deadLetter
