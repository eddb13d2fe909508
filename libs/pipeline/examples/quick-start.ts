// #region shown
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import { definePipeline } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';

const connection = await connect({ servers: process.env.NATS_URL ?? '127.0.0.1:4222', maxReconnectAttempts: -1 });
const manager = await jetstreamManager(connection);
await manager.streams.add({ name: 'greetings', subjects: ['greet.>'], retention: 'workqueue' });
await manager.streams.add({ name: 'dlq', subjects: ['dlq.>'] });
await manager.consumers.add('greetings', { durable_name: 'greeter', ack_policy: 'explicit', max_deliver: -1 });
await jetstream(connection).publish('greet.one', 'world');

const greeter = definePipeline({
  name: 'greeter',
  sources: [{ stream: 'greetings', consumer: 'greeter' }],
  decode: (bytes) => new TextDecoder().decode(bytes),
  handle: async (message) => console.log(`hello, ${message.data}`),
});
const running = await greeter.start({ nats: natsPort(connection, { headers }), deps: undefined });
setTimeout(() => void running.drain().then(() => connection.close()), 500);
// #endregion
