import { afterAll, beforeAll, expect, test } from 'vitest';
import { definePipeline } from '../../src/index.ts';
import { MemoryJetStream } from '../../src/memory/index.ts';
import { natsPort } from '../../src/nats/index.ts';
import type { ClosableNatsPort } from '../../src/nats/index.ts';
import { isCovered, partitionTransform } from '../../src/partitions/subject-transform.ts';
import { natsSource } from '../nats-source.ts';
import type { NatsSource } from '../nats-source.ts';

let source: NatsSource;
let nats: ClosableNatsPort;
beforeAll(async () => {
  source = await natsSource();
  nats = natsPort(source.admin);
});
afterAll(async () => {
  nats.close();
  await source.close();
});

const pipelineOn = (stream: string, partitions = 2, partitionBy = `${stream}.*.>`) =>
  definePipeline({
    name: 'divided',
    sources: [{ stream, consumer: 'worker', partitions, partitionBy }],
    decode: (bytes) => new TextDecoder().decode(bytes),
    flow: { expiresMs: 400, idleHeartbeatMs: 100 },
    handle: async () => undefined,
  });

test('makes the stream with its transform and a pinned consumer for each partition, and a second call makes nothing', async () => {
  const pipeline = pipelineOn('fresh');
  const { created } = await pipeline.ensure(nats, { subjects: ['fresh.*.>'], pinTtlMs: 3000 });
  expect(created).toEqual([
    'stream fresh',
    'consumer worker-0 on fresh',
    'consumer worker-1 on fresh',
    'stream dlq-divided-dlq-fresh-worker',
  ]);
  expect(await pipeline.ensure(nats, { subjects: ['fresh.*.>'] })).toEqual({ created: [] });
  const { config } = await source.jsm.consumers.info('fresh', 'worker-1');
  expect(config).toMatchObject({
    filter_subjects: ['1.>'],
    priority_groups: ['partition'],
    priority_policy: 'pinned_client',
    priority_timeout: 3_000_000_000,
  });
  const running = await pipeline.start({ nats, deps: undefined });
  await running.drain();
});

test('a stream that is divided otherwise, or not at all, is refused and stays as it is', async () => {
  await source.jsm.streams.add({ name: 'plain', subjects: ['plain.>'], retention: 'workqueue' });
  await expect(pipelineOn('plain').ensure(nats, { subjects: ['plain.>'] })).rejects.toThrow(
    'sources[0].partitions: stream plain has no subject transform; 2 partitions need plain.*.> to {{partition(2,1)}}.plain.{{wildcard(1)}}.>',
  );
  await expect(pipelineOn('plain').ensure(nats, { subjects: ['plain.>'] })).rejects.toThrow(
    'stores plain.>, which partitionBy plain.*.> leaves out: no consumer reads it',
  );
  await expect(pipelineOn('fresh', 4).start({ nats, deps: undefined })).rejects.toThrow(
    'transforms fresh.*.> to {{partition(2,1)}}.fresh.{{wildcard(1)}}.>; 4 partitions need fresh.*.> to {{partition(4,1)}}',
  );
  expect((await source.jsm.streams.info('plain')).config.subject_transform).toBeUndefined();
  await expect(source.jsm.consumers.info('plain', 'worker-0')).rejects.toThrow('consumer not found');
});

test('a consumer that is not pinned, reads another partition or gives its pin away too soon is refused at the start', async () => {
  await pipelineOn('loose').ensure(nats, { subjects: ['loose.*.>'] });
  for (const name of ['worker-0', 'worker-1']) await source.jsm.consumers.delete('loose', name);
  const basics = { ack_policy: 'explicit', max_deliver: -1 } as const;
  await source.jsm.consumers.add('loose', { ...basics, durable_name: 'worker-0', filter_subject: '0.>' });
  await source.jsm.consumers.add('loose', {
    ...basics,
    durable_name: 'worker-1',
    filter_subject: '7.>',
    priority_groups: ['partition'],
    priority_policy: 'pinned_client',
    priority_timeout: 300_000_000,
  });
  const starting = pipelineOn('loose').start({ nats, deps: undefined });
  await expect(starting).rejects.toMatchObject({
    code: 'PIPELINE_CONFIG',
    problems: [
      {
        message:
          'consumer worker-0 on loose: reads partition 0 of 2 and is not pinned: set priority_policy pinned_client and priority_groups [partition]',
      },
      { message: 'consumer worker-1 on loose: priority_timeout 300 ms is not more than flow.expiresMs 400' },
      { message: 'consumer worker-1 on loose: reads partition 1 of 2 and its filter is 7.>; it must begin with 1.' },
    ],
  });
});

test('a server before 2.11 is refused with one line that says so', async () => {
  const old = await natsSource('2.10');
  const port = natsPort(old.admin);
  try {
    const expected =
      'sources[0].partitions: need nats-server 2.11 or newer, for consumers that are pinned to one client; this one is older';
    await expect(pipelineOn('new').ensure(port, { subjects: ['new.*.>'] })).rejects.toThrow(expected);
    await expect(pipelineOn('new').start({ nats: port, deps: undefined })).rejects.toThrow(expected);
  } finally {
    port.close();
    await old.close();
  }
});

test('what cannot be combined is refused where the pipeline is defined', () => {
  const base = { name: 'odd', decode: () => undefined, handle: async () => undefined };
  const define = (more: object) => () =>
    definePipeline({ ...base, sources: [{ stream: 'S', consumer: 'c', partitions: 2, ...more }] });
  expect(define({ partitions: 0 })).toThrow('sources[0].partitions: must be at least 1, got 0');
  expect(define({ reserve: 1 })).toThrow('sources[0].partitions: cannot be combined with reserve');
  expect(define({ partitionBy: 'a..b' })).toThrow('sources[0].partitionBy: must be a subject');
  expect(() =>
    definePipeline({
      name: 'odd',
      decode: () => undefined,
      sources: [{ stream: 'S', consumer: 'c', partitions: 2 }],
      batch: { maxSize: 2, maxWaitMs: 1 },
      handleBatch: async () => undefined,
    }),
  ).toThrow('sources[0].partitions: cannot be combined with batches');
});

test('the stream in memory puts a key where the server puts it', async () => {
  for (const [number, by] of ['a.*', 'a.*.>', 'a.*.b.*', '>', 'a.>'].entries()) {
    const name = `hash-${number}`;
    const subjects = [by.replace(/^a|^>$/, (first) => (first === 'a' ? name : `${name}.>`))];
    const transform = partitionTransform(7, by.replace(/^a/, name));
    await source.jsm.streams.add({ name, subjects, subject_transform: { ...transform } });
    const memory = new MemoryJetStream();
    memory.addStream({ name, subjects, transform });
    for (let key = 0; key < 20; key++) {
      const tail = by === 'a.*' ? `k${key}` : `k${key}.b.c${key % 3}`;
      await nats.publish(`${name}.${tail}`, '');
      memory.store(`${name}.${tail}`, '');
    }
    const stored: string[] = [];
    for (let seq = 1; seq <= 20; seq++)
      stored.push((await source.jsm.streams.getMessage(name, { seq }))?.subject ?? '');
    expect(memory.messages(name).map(({ subject }) => subject)).toEqual(stored);
  }
});

test('whether a stream stores subjects that the partitions leave out', () => {
  expect(isCovered('a.*.>', 'a.*.>')).toBe(true);
  expect(isCovered('a.b.c', 'a.*.>')).toBe(true);
  expect(isCovered('anything.>', '>')).toBe(true);
  expect(isCovered('a.>', 'a.*.>')).toBe(false);
  expect(isCovered('a.*', 'a.b')).toBe(false);
  expect(isCovered('b.c', 'a.*')).toBe(false);
});
