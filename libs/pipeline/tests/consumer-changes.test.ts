import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';
import { base, recordEvents } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

let source: NatsSource;
beforeAll(async () => {
  source = await natsSource();
});
afterAll(() => source.close());

async function running(ackWaitMs = 30_000) {
  const place = await source.place({ ackWaitMs });
  const log = recordEvents();
  const seen: number[] = [];
  const pipeline = await definePipeline<Job>({
    ...base(place),
    flow: { concurrency: 4, prefetch: 0, expiresMs: 400, idleHeartbeatMs: 100 },
    handle: async ({ data }) => void seen.push(data.n),
  }).start({ nats: place.port, deps: undefined, observe: log.observe });
  await place.send({ n: 0 });
  await expect.poll(() => seen).toEqual([0]);
  return { place, log, seen, pipeline };
}

describe('a consumer that is changed while a pipeline runs', () => {
  test.each([
    ['a priority group', { priority_policy: 'overflow', priority_groups: ['jobs'] }, /priority_groups/],
    ['headers_only', { headers_only: true }, /headers_only/],
    ['max_expires shorter than a pull', { max_expires: 100e6 }, /max_expires/],
    ['max_deliver', { max_deliver: 2 }, /max_deliver/],
    ['another filter', { filter_subject: 'W.nothing' }, /filter was changed/],
  ])('%s: nothing more is taken, health says why, and work goes on once it fits again', async (_, change, reason) => {
    // A message that came without its body while a pull was open returns after ack_wait.
    const { place, log, seen, pipeline } = await running(3_000);
    const { config } = await source.jsm.consumers.info(place.stream, place.consumer);
    const edit = 'filter_subject' in change ? { filter_subject: `${place.stream}.nothing` } : change;
    await source.jsm.consumers.update(place.stream, place.consumer, edit as never);
    await expect.poll(() => pipeline.health().reason).toMatch(reason);
    expect(pipeline.health().ok).toBe(false);
    expect(pipeline.state).toBe('disconnected');
    expect(log.of('source.drifted')[0]?.problems.join()).toMatch(reason);
    await place.send({ n: 1 }, { n: 2 });
    const before = Object.fromEntries(
      Object.keys(edit).map((key) => [key, (config as unknown as Record<string, unknown>)[key]]),
    );
    await source.jsm.consumers.update(place.stream, place.consumer, {
      headers_only: false,
      max_expires: 0,
      ...before,
      priority_timeout: undefined,
    } as never);
    await expect.poll(() => seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
    // A pull that was open all the while brings messages before the consumer is looked at again.
    await expect.poll(() => pipeline.health().ok).toBe(true);
    expect(await place.deadLetters()).toEqual([]);
    await pipeline.drain();
    await place.close();
  });

  test('paused on the server: health says until when', async () => {
    const { place, seen, pipeline } = await running();
    await source.jsm.consumers.pause(place.stream, place.consumer, new Date(Date.now() + 3_600_000));
    await expect.poll(() => pipeline.health().reason).toMatch(/is paused on the server until 20/);
    expect(pipeline.health().conditions).toMatchObject([{ code: 'pausedByServer', serious: true }]);
    await place.send({ n: 1 });
    await source.jsm.consumers.resume(place.stream, place.consumer);
    await expect.poll(() => seen).toEqual([0, 1]);
    await pipeline.drain();
    await place.close();
  });

  test('headers_only: what is delivered before a check is neither handled nor dead-lettered', async () => {
    const { place, seen, pipeline } = await running(1_000);
    await source.jsm.consumers.update(place.stream, place.consumer, { headers_only: true });
    await place.send({ n: 1 }, { n: 2 });
    await expect.poll(() => pipeline.health().reason).toMatch(/headers_only/);
    await source.jsm.consumers.update(place.stream, place.consumer, { headers_only: false });
    await expect.poll(() => seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
    expect(await place.deadLetters()).toEqual([]);
    await pipeline.drain();
    await place.close();
  });

  test('a publisher that writes the size of a body there is not holds up nothing', async () => {
    const { place, pipeline } = await running(1_000);
    await place.store('', { headers: { 'Nats-Msg-Size': '5' } });
    await expect.poll(() => place.left()).toBe(0);
    expect(pipeline.health().ok).toBe(true);
    await pipeline.drain();
    await place.close();
  });

  test('a smaller max_batch is kept to', async () => {
    const { place, seen, pipeline } = await running();
    await source.jsm.consumers.update(place.stream, place.consumer, { max_batch: 2 });
    await place.send(...Array.from({ length: 10 }, (_, n) => ({ n: n + 1 })));
    await expect.poll(() => seen.length).toBe(11);
    expect(pipeline.health().ok).toBe(true);
    await pipeline.drain();
    await place.close();
  });

  test('a shorter ack_wait is kept to by heartbeats', async () => {
    const place = await source.place({ ackWaitMs: 30_000 });
    const log = recordEvents();
    let runs = 0;
    const end = Promise.withResolvers<void>();
    const pipeline = await definePipeline<Job>({
      ...base(place),
      flow: { concurrency: 4, prefetch: 0, expiresMs: 400, idleHeartbeatMs: 100 },
      timeout: { handlerMs: 60_000, graceMs: 100 },
      handle: async () => {
        runs++;
        await end.promise;
      },
    }).start({ nats: place.port, deps: undefined, observe: log.observe });
    await place.send({ n: 1 });
    await expect.poll(() => runs).toBe(1);
    expect(log.of('heartbeats.sent')).toEqual([]);
    await source.jsm.consumers.update(place.stream, place.consumer, { ack_wait: 3e9 });
    // Three of them take as long as the new ack_wait.
    await expect.poll(() => log.of('heartbeats.sent').length).toBeGreaterThanOrEqual(4);
    const { num_redelivered } = await source.jsm.consumers.info(place.stream, place.consumer);
    expect(num_redelivered).toBe(0);
    end.resolve();
    await expect.poll(() => place.left()).toBe(0);
    expect(runs).toBe(1);
    await pipeline.drain();
    await place.close();
  });
});

test('a pipeline does not start on a consumer that hands out no bodies', async () => {
  const place = await source.place();
  await source.jsm.consumers.update(place.stream, place.consumer, { headers_only: true });
  const start = definePipeline<Job>({ ...base(place), handle: async () => undefined }).start({
    nats: place.port,
    deps: undefined,
  });
  await expect(start).rejects.toThrow(/headers_only/);
  await place.close();
});

test('a source without bodies wants a consumer that hands out none, and handles headers alone', async () => {
  const place = await source.place();
  const seen: number[] = [];
  const pipeline = definePipeline<Job>({
    ...base(place),
    sources: [{ stream: place.stream, consumer: place.consumer, body: 'none' }],
    decode: () => ({ n: -1 }),
    handle: async (message) => {
      seen.push(message.sequence);
    },
  });
  await expect(pipeline.start({ nats: place.port, deps: undefined })).rejects.toThrow(/no headers_only/);
  await source.jsm.consumers.update(place.stream, place.consumer, { headers_only: true });
  const running = await pipeline.start({ nats: place.port, deps: undefined });
  for (const n of [0, 1, 2]) await place.send({ n });
  await expect.poll(() => place.left()).toBe(0);
  expect(seen).toHaveLength(3);
  await running.drain();
  await place.close();
});
