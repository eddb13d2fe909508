import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNatsCluster } from '@sluice/dev';
import type { NatsCluster } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { decodeJson, recordEvents } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

let cluster: NatsCluster;
beforeAll(async () => {
  cluster = await startNatsCluster();
});
afterAll(() => cluster.stop());

describe('in a cluster of three', () => {
  test('the leader of the consumer dies while the client stays connected: consuming goes on, nothing is lost', async () => {
    const probe = await connect({ servers: [...cluster.urls], maxReconnectAttempts: -1 });
    const jsm = await jetstreamManager(probe, { timeout: 30_000 }); // three servers that have just met first elect a leader
    await jsm.streams.add({ name: 'WORK', subjects: ['work.>'], retention: 'workqueue', num_replicas: 3 });
    await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'], num_replicas: 3 });
    await jsm.consumers.add('WORK', {
      durable_name: 'worker',
      ack_policy: 'explicit',
      ack_wait: 5_000_000_000,
      max_deliver: -1,
    });
    const leader = (await jsm.consumers.info('WORK', 'worker')).cluster?.leader ?? '';
    const others = [...cluster.nodes].filter(([name]) => name !== leader).map(([, node]) => node.url);
    // Both connections on a node that lives: what breaks is the consumer, not the link.
    const connection = await connect({ servers: others, ignoreClusterUpdates: true, maxReconnectAttempts: -1 });
    const publishing = await connect({ servers: others, ignoreClusterUpdates: true, maxReconnectAttempts: -1 });
    await probe.close();
    const js = jetstream(publishing, { timeout: 30_000 });
    const port = natsPort(connection);
    const events = recordEvents();
    const seen = new Set<number>();
    const running = await definePipeline<Job>({
      name: 'survivor',
      sources: [{ stream: 'WORK', consumer: 'worker' }],
      decode: decodeJson,
      flow: { concurrency: 4, expiresMs: 2000, idleHeartbeatMs: 500 },
      handle: async ({ data }) => void seen.add(data.n),
    }).start({ nats: port, deps: undefined, observe: events.observe });
    // The stream elects a leader, at first too, and until then the answer is "no responders", at once; the same id makes
    // repeating safe.
    const publish = (n: number): Promise<void> =>
      expect
        .poll(
          () =>
            js
              .publish('work.a', JSON.stringify({ n }), { msgID: `n${n}`, timeout: 1000 })
              .then((ack) => ack.stream)
              .catch(() => undefined),
          { timeout: 60_000, interval: 250 },
        )
        .toBe('WORK');
    for (let n = 0; n < 10; n++) await publish(n);
    await expect.poll(() => seen.size, { timeout: 60_000 }).toBe(10);

    await cluster.nodes.get(leader)?.kill();
    for (let n = 10; n < 20; n++) await publish(n);
    await expect.poll(() => seen.size, { timeout: 60_000 }).toBe(20);
    expect(events.of('connection.lost')).toEqual([]);
    await expect.poll(() => running.state).toBe('running');
    await running.drain();
    port.close();
    await connection.close();
    await publishing.close();
  });
});
