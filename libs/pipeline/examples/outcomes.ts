import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('pack');
// #region shown
import { definePipeline, PermanentError, RetryAfterError } from '@sluice/pipeline';

const pack = definePipeline({
  name: 'pack',
  sources: [{ stream: 'orders', consumer: 'pack' }],
  decode: decodeOrder,
  retry: { maxAttempts: 3, baseMs: 50, maxMs: 500 },
  handle: async ({ data, attempt }) => {
    if (data.id === 'odd') throw new PermanentError('no such article'); // dead letter now
    if (data.id === 'late' && attempt === 1) throw new RetryAfterError('restocking', 100); // not before 100 ms
    if (data.id === 'flaky' && attempt < 3) throw new Error('try again'); // backoff with jitter
    if (data.id === 'test') return { kind: 'skip', reason: 'a test order' }; // acked, counted apart
    console.log(`packed ${data.id} on attempt ${attempt}`);
    return undefined; // ack
  },
});
// #endregion
const running = await pack.start({
  nats,
  deps: undefined,
  observe: (event) => {
    if (event.type === 'message.deadLettered') console.log(`dead letter: ${event.reason}`);
  },
});
await place('pack', ...['good', 'odd', 'late', 'flaky', 'test'].map((id) => ({ id, customer: 'c' })));
await workedOff();
await running.drain();
await close();
// prints: packed good on attempt 1
// prints: packed late on attempt 2
// prints: packed flaky on attempt 3
// prints: dead letter: permanent
