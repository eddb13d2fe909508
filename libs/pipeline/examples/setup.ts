import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { natsPort } from '@sluice/pipeline/nats';

/** A connection, a work queue `orders` with the consumers named, and somewhere for dead letters and results to go. */
export async function setUp(...consumers: readonly string[]) {
  const connection = await connect({ servers: process.env['NATS_URL'] ?? '127.0.0.1:4222', maxReconnectAttempts: -1 });
  const manager = await jetstreamManager(connection);
  for (const name of ['orders', 'shipped', 'dlq']) await manager.streams.delete(name).catch(() => false);
  await manager.streams.add({ name: 'orders', subjects: ['orders.>'], retention: 'workqueue' });
  await manager.streams.add({ name: 'shipped', subjects: ['shipped.>'] });
  await manager.streams.add({ name: 'dlq', subjects: ['dlq.>'] });
  for (const name of consumers) {
    await manager.consumers.add('orders', {
      durable_name: name,
      filter_subject: `orders.${name}`,
      ack_policy: 'explicit',
      ack_wait: 30_000_000_000,
      max_deliver: -1,
    });
  }
  const client = jetstream(connection);
  return {
    connection,
    manager,
    nats: natsPort(connection),
    /** Stores orders one after the other. */
    place: async (consumer: string, ...orders: readonly object[]): Promise<void> => {
      for (const order of orders) await client.publish(`orders.${consumer}`, JSON.stringify(order));
    },
    /** Waits until the work queue is empty. */
    workedOff: async (): Promise<void> => {
      while ((await manager.streams.info('orders')).state.messages > 0)
        await new Promise((resolve) => setTimeout(resolve, 20));
    },
    close: () => connection.close(),
  };
}

export interface Order {
  readonly id: string;
  readonly customer: string;
}

export const decodeOrder = (bytes: Uint8Array): Order => JSON.parse(new TextDecoder().decode(bytes)) as Order;
