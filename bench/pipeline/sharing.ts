// Two replicas with 2 and 6 slots share a backlog of 50 ms jobs.
import type { JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { definePipeline } from '@sluice/pipeline';
import { natsPort } from '@sluice/pipeline/nats';
import type { Row } from '../run.ts';

const JOBS = 240;
const JOB_MS = 50;
const SLOTS = [2, 6] as const;

export async function sharing({ jsm, url }: { jsm: JetStreamManager; url: string }): Promise<readonly Row[]> {
  await jsm.streams.add({ name: 'SHARED', subjects: ['bench.shared'], retention: 'workqueue' });
  await jsm.consumers.add('SHARED', { durable_name: 'both', ack_policy: 'explicit', max_deliver: -1 });
  const connections = await Promise.all(SLOTS.map(() => connect({ servers: url, noAsyncTraces: true })));
  const ports = connections.map((connection) => natsPort(connection));
  for (let sent = 0; sent < JOBS; sent++) await ports[0]?.publish('bench.shared', String(sent));
  const counts = SLOTS.map(() => 0);
  const done = Promise.withResolvers<void>();
  const replicas = await Promise.all(
    ports.map((nats, index) =>
      definePipeline({
        name: `replica-${index}`,
        sources: [{ stream: 'SHARED', consumer: 'both' }],
        decode: () => undefined,
        flow: { concurrency: SLOTS[index] ?? 1, expiresMs: 1000, idleHeartbeatMs: 300 },
        handle: async () => {
          counts[index] = (counts[index] ?? 0) + 1;
          await new Promise((resolve) => setTimeout(resolve, JOB_MS));
          if (counts.reduce((sum, count) => sum + count, 0) === JOBS) done.resolve();
        },
      }).start({ nats, deps: undefined }),
    ),
  );
  await done.promise;
  await Promise.all(replicas.map((replica) => replica.drain()));
  for (const port of ports) port.close();
  await Promise.all(connections.map((connection) => connection.close()));
  const share = ((counts[0] ?? 0) / JOBS) * 100;
  const fair = (SLOTS[0] / (SLOTS[0] + SLOTS[1])) * 100;
  return [
    {
      id: 'share of 2 slots beside 6 (fair: 25 %, within 5 points)',
      value: share,
      unit: '%',
      pass: Math.abs(share - fair) <= 5,
    },
  ];
}
