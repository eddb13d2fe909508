import { expect, test } from 'vitest';
import { decodeJson } from '../src/conformance/source.ts';
import { definePipeline } from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { manualClock } from '../src/testing/manual-clock.ts';

/** A pipeline with an order by key whose first run fails, and is tried again after 10 s. */
async function world() {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker', { ack_wait: 60_000 * 1_000_000, max_deliver: -1 });
  const runs: { n: number; at: number; attempt: number }[] = [];
  const start = async () => {
    const starting = definePipeline({
      name: 'pause',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: decodeJson,
      flow: { concurrency: 4, prefetch: 0, orderBy: ({ data }) => data.key },
      retry: { maxAttempts: 9, baseMs: 10_000, maxMs: 10_000, jitter: 'none' },
      handle: async ({ data, attempt }) => {
        runs.push({ n: data.n, at: clock.now(), attempt });
        if (runs.length === 1) throw new Error('once');
      },
    }).start({ nats: server.connect(), deps: undefined, clock });
    await clock.advance(50);
    return await starting;
  };
  const send = async (n: number): Promise<void> => {
    server.store('w.a', JSON.stringify({ n, key: 'k' }));
    await clock.advance(10);
  };
  const order = (): number[] => runs.map(({ n }) => n);
  return { clock, server, start, send, runs, order };
}

test('a retry of a key waits for the rest of its time after a pause, and what came meanwhile behind it', async () => {
  const { clock, server, start, send, runs, order } = await world();
  const running = await start();
  await send(1);
  await send(2);
  const paused = running.pause('an operator');
  await clock.advance(3_000);
  await paused;
  expect(running.snapshot()).toMatchObject({ inFlight: 0, buffered: 0, parked: 0 });
  await send(3);
  running.resume();
  await clock.advance(5_000);
  expect(order()).toEqual([1]);
  expect(running.explain(1).state).toBe('backingOff');
  await clock.advance(3_000);
  expect(order()).toEqual([1, 1, 2, 3]);
  expect(runs[1]?.at).toBe((runs[0]?.at ?? 0) + 10_000);
  expect(runs[1]?.attempt).toBe(2);
  expect(server.messages('W')).toEqual([]);
  const drained = running.drain();
  await clock.advance(5_000);
  await drained;
});

test('after a pause longer than its wait a retry runs at once, first of its key', async () => {
  const { clock, start, send, order } = await world();
  const running = await start();
  await send(1);
  const paused = running.pause('an operator');
  await clock.advance(20_000);
  await paused;
  await send(2);
  running.resume();
  await clock.advance(100);
  expect(order()).toEqual([1, 1, 2]);
  const drained = running.drain();
  await clock.advance(5_000);
  await drained;
});

test('a shutdown gives a retry back with the rest of its delay: the next process does not use its attempts up', async () => {
  const { clock, start, send, runs, order } = await world();
  const first = await start();
  await send(1);
  const drained = first.drain();
  await clock.advance(3_000);
  await drained;
  const second = await start();
  await clock.advance(5_000);
  expect(order()).toEqual([1]);
  await clock.advance(3_000);
  expect(order()).toEqual([1, 1]);
  expect((runs[1]?.at ?? 0) - (runs[0]?.at ?? 0)).toBeGreaterThanOrEqual(10_000);
  const ended = second.drain();
  await clock.advance(5_000);
  await ended;
});
