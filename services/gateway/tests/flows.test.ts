import { startNats, type NatsProcess } from '@sluice/dev';
import { buckets, connectNats, createBucket } from '@sluice/messaging';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openFlowStore, type FlowStore } from '../src/lifecycle/flows.ts';

let nats: NatsProcess;
const opened: { close(): unknown }[] = [];
beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  for (const each of opened.reverse()) await each.close();
  await nats?.stop();
});

const replica = async (): Promise<FlowStore> => {
  const nc = await connectNats({ url: nats.url, name: 'flows' });
  await createBucket(nc, buckets.flows);
  const store = await openFlowStore(nc);
  opened.push(nc, store);
  return store;
};

test('an app that two accounts declare at once belongs to one of them, on every replica', async () => {
  const [a, b] = [await replica(), await replica()];
  for (let round = 0; round < 20; round += 1) {
    const app = `app-${round}`;
    const declared = await Promise.allSettled([
      a.declare(app, 'acme', ['placed'], 1_000),
      b.declare(app, 'globex', ['paid'], 1_000),
    ]);
    const won = declared.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(won).toHaveLength(1);
    const lost = declared.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    expect(lost).toMatchObject([{ code: 'forbidden' }]);
    await expect.poll(() => [a.find(app), b.find(app)]).toEqual([won[0], won[0]]);
    // Its owner may change its mind.
    const { account } = won[0]!;
    await b.declare(app, account, ['placed', 'shipped'], 2_000);
    await expect.poll(() => a.find(app)?.events).toEqual(['placed', 'shipped']);
  }
});
