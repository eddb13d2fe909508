import { describe, expect, test } from 'vitest';
import { definePipeline, PermanentError } from '../src/index.ts';
import type { NatsMessage } from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { storedAtMs } from '../src/process/delivery.ts';
import { Settlements } from '../src/settle/settlements.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import { decodeJson, recordEvents } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const NS = 1_000_000;

/** A server in memory with one message, on a clock moved by hand. */
function setUp(ackWaitMs: number) {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker', { ack_wait: ackWaitMs * NS, max_deliver: -1 });
  server.store('w.a', '{"n":1}');
  return { clock, server, port: server.connect() };
}

describe('settlements', () => {
  test('a nak held for longer than ack_wait is not sent: the message has another holder', async () => {
    const { clock, port } = setUp(1000);
    const settlements = new Settlements(port, clock, 'flush');
    port.disconnect();
    settlements.nak({ reply: '$JS.ACK.W.worker.1.1.1.1700000000000000000.0', source: 0, sequence: 1 }, 10);
    await clock.advance(900);
    settlements.nak({ reply: '$JS.ACK.W.worker.1.2.2.1700000000000000000.0', source: 0, sequence: 2 }, 10);
    await clock.advance(200);
    port.reconnect();
    expect(settlements.resend(1000)).toBe(1);
    settlements.close();
    port.close();
  });

  test('an ack whose round trip failed is still sent again after the reconnect', async () => {
    const { clock, server, port } = setUp(60_000);
    const delivered = Promise.withResolvers<NatsMessage>();
    port.subscribe('_INBOX.test', (message) => delivered.resolve(message));
    port.send('$JS.API.CONSUMER.MSG.NEXT.W.worker', '{"batch":1,"expires":10000000000}', { reply: '_INBOX.test' });
    await clock.settle();
    const settlements = new Settlements(port, clock, 'flush');
    port.partitioned = true;
    const reply = (await delivered.promise).reply ?? '';
    const storedAt = storedAtMs(reply);
    void settlements.ack({ reply, source: 0, sequence: 1 });
    // The link is half-open for longer than a confirmation may take.
    await clock.advance(5000);
    expect(settlements.unconfirmed).toBe(1);
    expect(settlements.ackedHere(0, 1, storedAt)).toBe(true);
    expect(settlements.ackedHere(0, 2, storedAt)).toBe(false);
    expect(settlements.ackedHere(0, 1, storedAt + 1), 'of a stream made again').toBe(false);
    port.disconnect();
    port.partitioned = false;
    port.reconnect();
    expect(settlements.resend(60_000)).toBe(1);
    await clock.advance(1000);
    expect(server.messages('W')).toEqual([]);
    expect(settlements.unconfirmed).toBe(0);
  });

  test('without confirmation nothing is kept, except what could not be sent', async () => {
    const { port, clock } = setUp(60_000);
    const settlements = new Settlements(port, clock, 'none');
    void settlements.ack({ reply: '$JS.ACK.W.worker.1.1.1.1.0', source: 0, sequence: 1 });
    expect(settlements.unconfirmed).toBe(0);
    port.disconnect();
    void settlements.ack({ reply: '$JS.ACK.W.worker.1.2.2.1.0', source: 0, sequence: 2 });
    expect(settlements.held).toBe(1);
    port.reconnect();
    expect(settlements.resend(60_000)).toBe(1);
  });
});

describe('while a dead letter is on its way', () => {
  test('heartbeats go on: the message is not delivered again before it is settled', async () => {
    const { clock, server, port } = setUp(1000);
    const events = recordEvents();
    // The record is published and its PubAck never comes: the publish waits five seconds, ack_wait is one.
    server.swallow.add('dlq.W.worker');
    const starting = definePipeline<Job>({
      name: 'burying',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: decodeJson,
      flow: { concurrency: 2, expiresMs: 1000, idleHeartbeatMs: 200 },
      handle: async () => {
        throw new PermanentError('bad');
      },
    }).start({ nats: port, deps: undefined, clock, observe: events.observe });
    await clock.advance(20);
    const running = await starting;
    await clock.advance(4500);
    expect(events.of('heartbeats.sent').length).toBeGreaterThan(8);
    expect(events.of('message.alreadyHeld')).toEqual([]);
    expect(events.of('message.received')).toHaveLength(1);
    await clock.advance(1000);
    expect(events.of('message.deadLetterFailed')).toHaveLength(1);
    expect(server.messages('W')).toHaveLength(1);
    server.swallow.clear();
    await clock.advance(10_000);
    expect(server.messages('W')).toEqual([]);
    expect(server.messages('DLQ')).toHaveLength(1);
    const drained = running.drain();
    await clock.advance(2000);
    await drained;
  });
});

describe('the watchdog', () => {
  test('asks again on a fresh inbox long before the forgotten pull would have expired', async () => {
    const { clock, server, port } = setUp(30_000);
    const events = recordEvents();
    let handled = 0;
    const starting = definePipeline<Job>({
      name: 'watched',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: decodeJson,
      flow: { concurrency: 2, prefetch: 0, expiresMs: 60_000, idleHeartbeatMs: 200 },
      handle: async () => {
        handled++;
      },
    }).start({ nats: port, deps: undefined, clock, observe: events.observe });
    await clock.advance(100);
    const running = await starting;
    expect(handled).toBe(1);
    server.forgetPulls('W', 'worker');
    server.store('w.a', '{"n":2}');
    await clock.advance(2000);
    expect(handled).toBe(2);
    expect(events.of('source.stalled')).toHaveLength(1);
    expect(running.state).toBe('running');
    const drained = running.drain();
    await clock.advance(70_000);
    await drained;
  });
});
