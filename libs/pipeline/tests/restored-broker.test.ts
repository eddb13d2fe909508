import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { startFaultProxy, startNats } from '@sluice/dev';
import { expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { dial } from './nats-source.ts';
import { decodeJson, gate, recordEvents } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const NS = 1_000_000;

test('what is held settles no message of a broker that was restored from older state', async () => {
  const backup = mkdtempSync(join(tmpdir(), 'sluice-backup-'));
  const server = await startNats();
  const wire = await startFaultProxy({ targetPort: server.port });
  const admin = await dial(server.url);
  const worker = await dial(`127.0.0.1:${wire.port}`);
  try {
    const jsm = await jetstreamManager(admin, { timeout: 30_000 });
    await jsm.streams.add({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
    await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'] });
    await jsm.consumers.add('W', {
      durable_name: 'worker',
      ack_policy: 'explicit',
      ack_wait: 30_000 * NS,
      max_deliver: -1,
    });
    // What is published before the connection is back is lost, and the next try finds it.
    const publish = (n: number) => jetstream(admin, { timeout: 1_000 }).publish('w.a', JSON.stringify({ n }));
    await publish(0);
    const log = recordEvents();
    const seen: number[] = [];
    const held = gate();
    const late = gate();
    const port = natsPort(worker);
    const running = await definePipeline<Job>({
      name: 'w',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: decodeJson,
      flow: { concurrency: 4, prefetch: 0, expiresMs: 400, idleHeartbeatMs: 100 },
      handle: async ({ data }) => {
        seen.push(data.n);
        if (data.n === 1) await held.opened;
        if (data.n === 2) await late.opened;
      },
    }).start({ nats: port, deps: undefined, observe: log.observe });
    await expect.poll(async () => (await jsm.streams.info('W')).state.messages).toBe(0);
    await server.kill();
    cpSync(server.storeDir, backup, { recursive: true });
    await server.restart();

    await expect.poll(() => log.of('connection.restored').length, { timeout: 30_000 }).toBe(1);
    // The other connection comes back by itself, and maybe later.
    const isBack = () =>
      admin.rtt().then(
        () => true,
        () => false,
      );
    await expect.poll(isBack, { timeout: 30_000 }).toBe(true);
    await publish(1);
    await publish(2);
    await expect.poll(() => seen).toEqual([0, 1, 2]);
    // The handler of 1 ends while there is no connection, that of 2 after there is one again.
    await wire.down();
    await expect.poll(() => running.state).toBe('disconnected');
    held.open();
    await expect.poll(() => running.snapshot().heldSettlements).toBe(1);
    await server.kill();
    rmSync(server.storeDir, { recursive: true });
    cpSync(backup, server.storeDir, { recursive: true });
    await server.restart();
    // Two other messages get the sequences, and another worker has both.
    await expect
      .poll(
        () =>
          publish(11).then(
            () => true,
            () => false,
          ),
        { timeout: 30_000 },
      )
      .toBe(true);
    await publish(12);
    const replies: string[] = [];
    const other = natsPort(admin);
    const inbox = other.inbox();
    other.subscribe(inbox, ({ reply }) => {
      if (reply !== undefined && reply !== '') replies.push(reply);
    });
    other.send('$JS.API.CONSUMER.MSG.NEXT.W.worker', '{"batch":2,"expires":30000000000}', { reply: inbox });
    await expect.poll(() => replies.length).toBe(2);
    expect(replies.map((reply) => reply.split('.')[5])).toEqual(['2', '3']);

    await wire.up();
    await expect.poll(() => log.of('connection.restored').length, { timeout: 30_000 }).toBe(2);
    late.open();
    await expect.poll(() => log.of('message.handled').length).toBe(3);
    await port.flush();
    const info = await jsm.consumers.info('W', 'worker');
    expect([info.num_ack_pending, (await jsm.streams.info('W')).state.messages]).toEqual([2, 2]);
    // Given back, they are handled like any other.
    for (const reply of replies) other.send(reply, '-NAK');
    await expect.poll(async () => (await jsm.streams.info('W')).state.messages).toBe(0);
    expect(seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 11, 12]);
    await running.drain();
    other.close();
    port.close();
  } finally {
    await Promise.all([admin.close(), worker.close()]);
    await wire.close();
    await server.stop();
    rmSync(backup, { recursive: true, force: true });
  }
});
