import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { startNats } from '@sluice/dev';
import { describe, expect, test } from 'vitest';
import { definePipeline } from '../src/index.ts';
import { natsPort } from '../src/nats/index.ts';
import { dial } from './nats-source.ts';
import { recordEvents } from '../src/conformance/source.ts';

/** Dead-letters one message on a server with this limit; returns what is stored of it. */
async function deadLetterOf(options: {
  readonly maxPayload: number;
  readonly maxMessageSize?: number;
  readonly headerBytes: number;
  readonly bodyBytes: number;
}): Promise<{ readonly headers: ReadonlyMap<string, string>; readonly bytes: number }> {
  const server = await startNats({ config: `max_payload: ${options.maxPayload}` });
  const connection = await dial(server.url);
  const port = natsPort(connection);
  try {
    const jsm = await jetstreamManager(connection);
    await jsm.streams.add({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
    await jsm.streams.add({ name: 'DLQ', subjects: ['dlq.>'], max_msg_size: options.maxMessageSize ?? -1 });
    await jsm.consumers.add('W', { durable_name: 'worker', ack_policy: 'explicit', max_deliver: -1 });
    const carried = headers();
    for (let at = 0; at < options.headerBytes; at += 1000) carried.append(`X-${at}`, 'x'.repeat(990));
    await jetstream(connection).publish('w.a', new Uint8Array(options.bodyBytes), { headers: carried });
    const events = recordEvents();
    const running = await definePipeline({
      name: 'large',
      sources: [{ stream: 'W', consumer: 'worker' }],
      decode: (): never => {
        throw new Error('not JSON');
      },
      retry: { maxAttempts: 2, baseMs: 20, maxMs: 100 },
      flow: { expiresMs: 400, idleHeartbeatMs: 100 },
      handle: async () => undefined,
    }).start({ nats: port, deps: undefined, observe: events.observe });
    await expect.poll(async () => (await jsm.streams.info('W')).state.messages).toBe(0);
    expect(events.of('message.deadLetterFailed')).toEqual([]);
    await running.drain();
    const stored = await jsm.streams.getMessage('DLQ', { seq: 1 });
    const names = stored?.header.keys() ?? [];
    return {
      headers: new Map(names.map((name) => [name, stored?.header.get(name) ?? ''])),
      bytes: stored?.data.length ?? 0,
    };
  } finally {
    port.close();
    await connection.close();
    await server.stop();
  }
}

describe('a dead letter that would be too large', () => {
  test('leaves the headers out first: the whole body can still be redriven', async () => {
    const record = await deadLetterOf({ maxPayload: 1_048_576, headerBytes: 60_000, bodyBytes: 988_400 });
    expect(record.bytes).toBe(988_400);
    expect(record.headers.get('Dlq-Headers-Omitted')).toBe('true');
    expect(record.headers.has('X-0')).toBe(false);
    expect(record.headers.has('Dlq-Full-Bytes')).toBe(false);
  });

  test('is cut when the body alone does not fit max_payload, and says how large it was', async () => {
    const record = await deadLetterOf({ maxPayload: 65_536, headerBytes: 0, bodyBytes: 65_500 });
    expect(record.bytes).toBe(32_750);
    expect(record.headers.get('Dlq-Full-Bytes')).toBe('65500');
    expect(record.headers.get('Dlq-Detail')).toBe('not JSON');
  });

  test('is cut to what max_msg_size of the dead-letter stream takes', async () => {
    const record = await deadLetterOf({
      maxPayload: 1_048_576,
      maxMessageSize: 10_000,
      headerBytes: 0,
      bodyBytes: 100_000,
    });
    expect(record.bytes).toBe(6250);
    expect(record.headers.get('Dlq-Full-Bytes')).toBe('100000');
  });
});
