import { decodeOrder, setUp } from './setup.ts';
const { nats, place, workedOff, close } = await setUp('count');
import { definePipeline } from '@sluice/pipeline';

const count = definePipeline({
  name: 'count',
  sources: [{ stream: 'orders', consumer: 'count' }],
  decode: decodeOrder,
  handle: async () => undefined,
});
// #region shown
const settled = new Map<string, number>();
const running = await count.start({
  nats,
  deps: undefined,
  observe: (event) => {
    if (event.type === 'message.settled') settled.set(event.as, (settled.get(event.as) ?? 0) + 1);
  },
  instrument: (messages, run) => {
    console.log(`span around ${messages.length} message`); // context.with(span, run) in OpenTelemetry
    return run();
  },
  inject: () => ({ traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }), // into emits and dead letters
});
// #endregion
await place('count', { id: 'a', customer: 'c' });
await workedOff();
await running.drain();
console.log(`acks: ${settled.get('ack')}`);
await close();
// prints: span around 1 message
// prints: acks: 1
