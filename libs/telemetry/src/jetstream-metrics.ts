import { metricNames } from './metric-names.ts';
import { registerGauge, type MetricsRegistry } from './registry.ts';

export interface ConsumerReading {
  readonly name: string;
  /** Waiting in the stream for this consumer. */
  readonly pending: number;
  /** Delivered and not yet acknowledged, delayed retries included. */
  readonly ackPending: number;
  readonly maxAckPending: number;
  /** Messages out for the second time or more right now: a level, not a count. */
  readonly redelivered: number;
  /** Pull requests waiting at the server; 0 means that no worker asks for work. */
  readonly waiting: number;
  readonly ackFloorSequence: number;
  readonly deliveredSequence: number;
}

export interface StreamReading {
  readonly name: string;
  /** Only in a work queue does a message that no consumer counts mean that something is stuck. */
  readonly retention: 'workqueue' | 'limits' | 'interest';
  readonly messages: number;
  readonly bytes: number;
  /** 0 or less: no limit. */
  readonly maxMessages: number;
  /** 0 or less: no limit. */
  readonly maxBytes: number;
  readonly lastSequence: number;
  /** When the oldest message was stored, in milliseconds since 1970; `undefined` for an empty stream. */
  readonly oldestAtMs: number | undefined;
  readonly consumers: readonly ConsumerReading[];
}

export interface JetstreamReading {
  readonly streams: readonly StreamReading[];
}

export interface JetstreamMetricsOptions {
  /** A reading younger than this is used again, so that several scrapers cost one question. 2,000 by default. */
  readonly maxAgeMs?: number;
  /** A poll that takes longer counts as failed. 2,000 by default. */
  readonly timeoutMs?: number;
  readonly now?: () => number;
}

/**
 * Streams and consumers as the server sees them, asked at each scrape. When the server does not answer,
 * `jetstream_up` is 0 and the other series disappear: no number is better than an old one.
 *
 * `jetstream_stream_stuck_messages` is what a work queue holds that no consumer has pending or out for
 * acknowledgement: messages that ran out of deliveries, or that no consumer's filter matches.
 */
export function jetstreamMetrics(
  registry: MetricsRegistry,
  poll: () => Promise<JetstreamReading>,
  options: JetstreamMetricsOptions = {},
): void {
  const now = options.now ?? Date.now;
  const read = shared(poll, { maxAgeMs: options.maxAgeMs ?? 2000, timeoutMs: options.timeoutMs ?? 2000, now });

  registerGauge(registry, {
    name: metricNames.jetstreamUp,
    help: '1 when the server answered the last question about its streams.',
    async collect() {
      this.set((await read()) === undefined ? 0 : 1);
    },
  });

  const perStream = (name: string, help: string, value: (stream: StreamReading) => number | undefined): void => {
    registerGauge(registry, {
      name,
      help,
      labelNames: ['stream'],
      async collect() {
        const reading = await read();
        this.reset();
        for (const stream of reading?.streams ?? []) {
          const found = value(stream);
          if (found !== undefined) this.set({ stream: stream.name }, found);
        }
      },
    });
  };
  const perConsumer = (name: string, help: string, value: (consumer: ConsumerReading) => number): void => {
    registerGauge(registry, {
      name,
      help,
      labelNames: ['stream', 'consumer'],
      async collect() {
        const reading = await read();
        this.reset();
        for (const stream of reading?.streams ?? []) {
          for (const consumer of stream.consumers) {
            this.set({ stream: stream.name, consumer: consumer.name }, value(consumer));
          }
        }
      },
    });
  };

  perStream(metricNames.streamMessages, 'Messages in the stream.', (s) => s.messages);
  perStream(metricNames.streamBytes, 'Bytes in the stream.', (s) => s.bytes);
  perStream(metricNames.streamLimitMessages, 'Most messages the stream takes.', (s) => limit(s.maxMessages));
  perStream(metricNames.streamLimitBytes, 'Most bytes the stream takes.', (s) => limit(s.maxBytes));
  perStream(metricNames.streamLastSequence, 'Sequence of the newest message.', (s) => s.lastSequence);
  perStream(metricNames.streamOldestAge, 'Age of the oldest message in the stream.', (s) =>
    s.oldestAtMs === undefined ? 0 : Math.max(0, (now() - s.oldestAtMs) / 1000),
  );
  perStream(metricNames.streamStuck, 'Messages of a work queue that no consumer will deliver.', stuck);

  perConsumer(metricNames.consumerPending, 'Messages waiting for the consumer.', (c) => c.pending);
  perConsumer(metricNames.consumerAckPending, 'Messages delivered and not settled.', (c) => c.ackPending);
  perConsumer(metricNames.consumerMaxAckPending, 'Most messages that may be unsettled.', (c) => c.maxAckPending);
  perConsumer(metricNames.consumerRedelivered, 'Messages out again right now.', (c) => c.redelivered);
  perConsumer(metricNames.consumerWaiting, 'Pull requests waiting at the server.', (c) => c.waiting);
  perConsumer(metricNames.consumerAckFloor, 'Everything up to here is settled.', (c) => c.ackFloorSequence);
  perConsumer(metricNames.consumerDelivered, 'Delivered up to here.', (c) => c.deliveredSequence);
}

function limit(value: number): number | undefined {
  return value > 0 ? value : undefined;
}

function stuck(stream: StreamReading): number | undefined {
  if (stream.retention !== 'workqueue') return undefined;
  const known = stream.consumers.reduce((sum, each) => sum + each.pending + each.ackPending, 0);
  // The numbers are read one after the other while messages move: a small negative is that, nothing more.
  return Math.max(0, stream.messages - known);
}

/** One poll for all gauges of a scrape, and none again while the last is fresh. Never rejects: `undefined` = failed. */
function shared(
  poll: () => Promise<JetstreamReading>,
  { maxAgeMs, timeoutMs, now }: { maxAgeMs: number; timeoutMs: number; now: () => number },
): () => Promise<JetstreamReading | undefined> {
  let last: { at: number; reading: Promise<JetstreamReading | undefined> } | undefined;
  return () => {
    if (last !== undefined && now() - last.at < maxAgeMs) return last.reading;
    const reading = withTimeout(poll, timeoutMs);
    last = { at: now(), reading };
    return reading;
  };
}

async function withTimeout<R>(run: () => Promise<R>, timeoutMs: number): Promise<R | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), timeoutMs).unref();
  try {
    return await Promise.race([run(), promise]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
