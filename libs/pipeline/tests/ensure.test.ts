import { afterAll, beforeAll, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { connectNats } from '../src/nats/index.ts';
import type { NatsLink } from '../src/nats/index.ts';
import { natsSource } from './nats-source.ts';
import type { NatsSource } from './nats-source.ts';

let source: NatsSource;
let nats: NatsLink;
beforeAll(async () => {
  source = await natsSource();
  nats = await connectNats({ servers: source.server.url });
});
afterAll(async () => {
  await nats.disconnect();
  await source.close();
});

const pipelineOn = (stream: string, seen: string[] = []) =>
  definePipeline({
    name: `on-${stream}`,
    sources: [{ stream, consumer: 'worker' }],
    decode: (bytes) => new TextDecoder().decode(bytes),
    handle: async ({ data }) => void seen.push(data),
  });

test('makes what is missing, and a second call makes nothing', async () => {
  const seen: string[] = [];
  const pipeline = pipelineOn('fresh', seen);
  expect(await pipeline.ensure(nats, { subjects: ['fresh.>'] })).toEqual({
    created: ['stream fresh', 'consumer worker on fresh', 'stream dlq-on-fresh-dlq-fresh-worker'],
  });
  expect(await pipeline.ensure(nats, { subjects: ['fresh.>'] })).toEqual({ created: [] });
  const running = await pipeline.start({ nats, deps: undefined });
  await nats.publish('fresh.a', 'hello', { headers: { 'X-Kind': 'greeting' } });
  await expect.poll(() => seen).toEqual(['hello']);
  await running.drain();
  const { config } = await source.jsm.consumers.info('fresh', 'worker');
  expect(config).toMatchObject({ max_deliver: -1, ack_policy: 'explicit', ack_wait: 30_000_000_000 });
});

test('changes nothing that is there, and says what is different', async () => {
  await source.jsm.streams.add({ name: 'old', subjects: ['old.one'], retention: 'limits' });
  await source.jsm.consumers.add('old', { durable_name: 'worker', ack_policy: 'explicit', ack_wait: 5_000_000_000 });
  const pipeline = pipelineOn('old');
  await expect(pipeline.ensure(nats, { subjects: ['old.one', 'old.two'] })).rejects.toThrow(
    'sources[0].stream: stream old stores old.one, not old.two',
  );
  // Nothing was made either: the differences come first.
  await expect(source.jsm.streams.info('dlq-on-old-dlq-old-worker')).rejects.toThrow('stream not found');
  expect(await pipeline.ensure(nats, { subjects: ['old.one'] })).toEqual({
    created: ['stream dlq-on-old-dlq-old-worker'],
  });
  const { config } = await source.jsm.consumers.info('old', 'worker');
  expect(config.ack_wait).toBe(5_000_000_000);
  expect((await source.jsm.streams.info('old')).config.retention).toBe('limits');
});

test('a stream whose subjects are not named is not made', async () => {
  await expect(pipelineOn('unnamed').ensure(nats, { subjects: {} })).rejects.toThrow(
    'name the subjects of stream unnamed',
  );
});
