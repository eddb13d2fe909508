// #region shown
import { definePipeline } from '@sluice/pipeline';
import { connectNats } from '@sluice/pipeline/nats';

const nats = await connectNats({ servers: process.env['NATS_URL'] ?? '127.0.0.1:4222' });
const greeter = definePipeline({
  name: 'greeter',
  sources: [{ stream: 'greetings', consumer: 'greeter' }],
  decode: (bytes) => new TextDecoder().decode(bytes),
  handle: async (message) => console.log(`hello, ${message.data}`),
});
await greeter.ensure(nats, { subjects: ['greet.>'] }); // makes what is missing, changes nothing
const running = await greeter.start({ nats, deps: undefined });
await nats.publish('greet.one', 'world');
setTimeout(() => void running.drain().then(() => nats.disconnect()), 500);
// #endregion
