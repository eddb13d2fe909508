import { jetstreamManager } from '@nats-io/jetstream';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBucket } from '../kv/bucket.ts';
import { buckets } from '../topology/buckets.ts';
import { isBrokerFault } from './broker-fault.ts';
import { connectNats } from './connection.ts';

let server: NatsProcess;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server?.stop());

const failureOf = (doing: Promise<unknown>): Promise<unknown> =>
  doing.then(
    () => 'no failure',
    (error: unknown) => error,
  );

// No process answers for a stream without a leader, as for one that is gone.
test('a bucket that no server answers for is a fault of the broker, and an entry that is there is none', async () => {
  const nc = await connectNats({ url: server.url, name: 'broker-fault-test' });
  const kv = await createBucket(nc, buckets.keyDays);
  await kv.create('a', '1');
  expect(isBrokerFault(await failureOf(kv.create('a', '1')))).toBe(false);
  await (await jetstreamManager(nc)).streams.delete('KV_key_days');
  for (const doing of [() => kv.put('b', '1'), () => kv.create('b', '1')]) {
    const failure = await failureOf(doing());
    expect(isBrokerFault(failure), String(failure)).toBe(true);
  }
  await nc.close();
});
