import { describe, expect, test } from 'vitest';
import { jetstreamMetrics, type JetstreamReading, type StreamReading } from './jetstream-metrics.ts';
import { createRegistry } from './registry.ts';

const consumer = {
  pending: 3,
  ackPending: 2,
  maxAckPending: 1000,
  redelivered: 1,
  waiting: 1,
  ackFloorSequence: 4,
  deliveredSequence: 6,
};
const stream = (fields: Partial<StreamReading> = {}): StreamReading => ({
  name: 'IMAGES',
  retention: 'workqueue',
  messages: 12,
  bytes: 900,
  maxMessages: 100,
  maxBytes: -1,
  lastSequence: 20,
  oldestAtMs: 1_000,
  consumers: [
    { name: 'url_to_pdf', ...consumer },
    { name: 'binary_to_pdf', ...consumer },
  ],
  ...fields,
});

function scrape(poll: () => Promise<JetstreamReading>, options: Parameters<typeof jetstreamMetrics>[2] = {}) {
  const registry = createRegistry('gateway');
  jetstreamMetrics(registry, poll, { now: () => 61_000, ...options });
  return () => registry.metrics();
}

describe('the numbers of JetStream', () => {
  test('show what is stuck: messages of a work queue that no consumer will deliver', async () => {
    const text = await scrape(async () => ({ streams: [stream()] }))();
    expect(text).toContain('jetstream_stream_stuck_messages{stream="IMAGES",service="gateway"} 2');
    expect(text).toContain('jetstream_stream_oldest_message_age_seconds{stream="IMAGES",service="gateway"} 60');
    expect(text).toContain(
      'jetstream_consumer_ack_pending_messages{stream="IMAGES",consumer="url_to_pdf",service="gateway"} 2',
    );
  });

  test('say nothing about stuck messages of a log, which keeps what was read, nor about limits there are not', async () => {
    const text = await scrape(async () => ({ streams: [stream({ retention: 'limits' })] }))();
    expect(text).not.toContain('stuck_messages{');
    expect(text).not.toContain('limit_bytes{');
  });

  test('are asked for once a scrape, and not again while they are fresh', async () => {
    let polls = 0;
    const metrics = scrape(async () => ({ streams: [stream({ messages: ++polls })] }));
    await metrics();
    await metrics();
    expect(polls).toBe(1);
  });

  test.each([
    ['fails', () => Promise.reject(new Error('no responders'))],
    ['never answers', () => new Promise<never>(() => {})],
  ])('disappear when the server %s, and jetstream_up says so', async (_, poll) => {
    let broken = false;
    const metrics = scrape(() => (broken ? poll() : Promise.resolve({ streams: [stream()] })), {
      maxAgeMs: 0,
      timeoutMs: 20,
    });
    expect(await metrics()).toContain('jetstream_up{service="gateway"} 1');
    broken = true;
    const text = await metrics();
    expect(text).toContain('jetstream_up{service="gateway"} 0');
    expect(text).not.toContain('stream="IMAGES"');
  });
});
