import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNats } from '@sluice/dev';
import { describe, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import { decodeJson, recordEvents } from '../src/conformance/source.ts';

const NS = 1_000_000;
const isAck = (subject: string): boolean => subject.startsWith('$JS.ACK.');
const flow = { concurrency: 4, prefetch: 0, expiresMs: 400, idleHeartbeatMs: 100 } as const;

/** A pipeline on a server in memory whose user's rights the test changes. */
async function inMemory(confirm: 'flush' | 'each' = 'flush') {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker', { ack_wait: 1500 * NS, max_deliver: -1 });
  const port = server.connect();
  const log = recordEvents();
  let ran = 0;
  const starting = definePipeline({
    name: 'w',
    sources: [{ stream: 'W', consumer: 'worker' }],
    decode: decodeJson,
    retry: { maxAttempts: 3, baseMs: 20, maxMs: 100 },
    ack: { confirm },
    flow,
    handle: async () => void ran++,
  }).start({ nats: port, deps: undefined, observe: log.observe, clock });
  await clock.settle();
  const running = await starting;
  running.done.catch(() => undefined);
  return { clock, server, port, log, running, ran: () => ran };
}

describe('acks are refused for want of permission', () => {
  test.each(['flush', 'each'] as const)(
    'with confirm %s the message is handled once, health names the right, and the acks arrive when it is given',
    async (confirm) => {
      const { clock, server, port, log, running, ran } = await inMemory(confirm);
      port.denied = isAck;
      server.store('w.a', '{"n":1}');
      await clock.advance(300);
      expect(running.health()).toMatchObject({ ok: false });
      expect(running.health().reason).toMatch(/permission denied to publish to \$JS\.ACK\.W\.worker\./);
      expect(log.of('source.denied')).toMatchObject([{ operation: 'settle', stream: 'W', consumer: 'worker' }]);
      // Many times ack_wait: nothing is pulled, so nothing comes again.
      await clock.advance(20_000);
      expect(ran()).toBe(1);
      expect(running.snapshot().unconfirmedAcks).toBeGreaterThan(0);
      expect(server.messages('W')).toHaveLength(1);
      expect(server.messages('DLQ')).toEqual([]);
      port.denied = undefined;
      await clock.advance(5_000);
      expect(server.messages('W')).toEqual([]);
      expect(running.health()).toMatchObject({ ok: true });
      expect(running.snapshot().unconfirmedAcks).toBe(0);
      server.store('w.a', '{"n":2}');
      await clock.advance(1_000);
      expect(ran()).toBe(2);
      expect(server.messages('W')).toEqual([]);
      port.close();
    },
  );

  test('a drain counts them as abandoned', async () => {
    const { clock, server, port, running } = await inMemory();
    port.denied = isAck;
    server.store('w.a', '{"n":1}');
    await clock.advance(300);
    const drained = running.drain();
    await clock.advance(5_000);
    expect(await drained).toEqual({ settled: 0, released: 0, abandoned: 1 });
    port.close();
  });
});

test('a pull that is refused is asked for again, and health names the right', async () => {
  const { clock, server, port, log, running, ran } = await inMemory();
  port.denied = (subject) => subject.includes('MSG.NEXT');
  await clock.advance(3_000);
  expect(running.health().reason).toMatch(/permission denied to publish to \$JS\.API\.CONSUMER\.MSG\.NEXT\.W\.worker/);
  expect(log.of('source.denied')).toMatchObject([{ operation: 'pull' }]);
  port.denied = undefined;
  server.store('w.a', '{"n":1}');
  await clock.advance(3_000);
  expect(ran()).toBe(1);
  expect(running.health().ok).toBe(true);
  port.close();
});

test('a real server says it beside the message: acks it refuses are not taken for settled', async () => {
  const denied = 'permissions: { publish: { deny: ["$JS.ACK.>", "dlq.>"] } }';
  const config = `authorization { users: [ {user: admin, password: a}, {user: w, password: w, ${denied} } ] }`;
  const server = await startNats({ config });
  const admin = await connect({ servers: server.url, user: 'admin', pass: 'a' });
  const worker = await connect({ servers: server.url, user: 'w', pass: 'w' });
  try {
    const jsm = await jetstreamManager(admin);
    await jsm.streams.add({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
    await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
    await jsm.consumers.add('W', {
      durable_name: 'worker',
      ack_policy: 'explicit',
      ack_wait: 1000 * NS,
      max_deliver: -1,
    });
    const log = recordEvents();
    const port = natsPort(worker);
    let ran = 0;
    const running = await definePipeline({
      name: 'w',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: decodeJson,
      flow,
      handle: async () => void ran++,
    }).start({ nats: port, deps: undefined, observe: log.observe });
    await jetstream(admin).publish('w.a', '{"n":1}');
    await expect.poll(() => running.health().reason).toMatch(/permission denied to publish to \$JS\.ACK\.W\.worker\./);
    // The server has the message back: it would deliver it again if it were asked.
    await expect.poll(async () => (await jsm.consumers.info('W', 'worker')).num_ack_pending).toBe(1);
    expect(log.of('source.denied')).toHaveLength(1);
    expect(running.snapshot().unconfirmedAcks).toBeGreaterThan(0);
    // A publish that is refused fails at once, not after its timeout.
    await expect(port.publish('dlq.x', '{}')).rejects.toMatchObject({ name: 'PublishError', code: 'DENIED' });
    expect(await running.drain()).toMatchObject({ settled: 0, abandoned: 1 });
    expect(ran).toBe(1);
    port.close();
  } finally {
    await Promise.all([admin.close(), worker.close()]);
    await server.stop();
  }
});
