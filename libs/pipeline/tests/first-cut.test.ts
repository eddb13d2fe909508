import { afterAll, beforeAll, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { base, makeWorkplace, recordEvents, startBroker } from './source.ts';
import type { Broker, Job } from './source.ts';

let broker: Broker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.close());

test('works a queue off: good messages are acked, failing ones retried and dead-lettered, garbage dead-lettered', async () => {
  const place = await makeWorkplace(broker);
  await place.send(...Array.from({ length: 50 }, (_, n) => ({ n })));
  await place.sendRaw('garbage');
  const done: number[] = [];
  const events = recordEvents();
  const running = await definePipeline<Job>({
    ...base(place),
    handle: async ({ data }) => {
      if (data.n % 10 === 3) throw new Error(`no ${data.n}`);
      done.push(data.n);
    },
  }).start({ nats: place.port, deps: undefined, observe: events.observe });
  await expect.poll(() => place.left()).toBe(0);
  expect(done).toHaveLength(45);
  const reasons = (await place.deadLetters()).map((record) => record.headers.get('Dlq-Reason'));
  expect(reasons.filter((reason) => reason === 'exhausted')).toHaveLength(5);
  expect(reasons.filter((reason) => reason === 'decode')).toHaveLength(1);
  expect(events.of('message.retryScheduled')).toHaveLength(10);
  await running.drain();
  await place.close();
});
