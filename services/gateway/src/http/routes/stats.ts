import { Type } from 'typebox';
import type { App } from '../app.ts';
import { DateTime } from '../../jobs/job-view.ts';
import { GatewayError } from '../../errors.ts';
import { problemResponses } from '../problem.ts';
import type { BrokerWatch, StreamState } from '../../admission/broker-watch.ts';

const ConsumerStats = Type.Object(
  {
    name: Type.String(),
    pending: Type.Integer({ description: 'Waiting to be delivered.' }),
    inFlight: Type.Integer({ description: 'Delivered and not settled, delayed retries included.' }),
    redelivered: Type.Integer({ description: 'Of those, out for the second time or more.' }),
    pulls: Type.Integer({ description: 'Open requests for work: 0 means that no worker asks.' }),
    deadLetters: Type.Integer(),
    ratePerSecond: Type.Number({ description: 'Deliveries, over the last seconds.' }),
  },
  { additionalProperties: false },
);
const StreamStats = Type.Object(
  {
    name: Type.String(),
    kind: Type.Unsafe<'work' | 'log'>(Type.String({ enum: ['work', 'log'] })),
    messages: Type.Integer(),
    bytes: Type.Integer(),
    maxMessages: Type.Optional(Type.Integer({ description: 'More are refused.' })),
    oldestAgeMs: Type.Optional(Type.Integer()),
    stuck: Type.Optional(Type.Integer({ description: 'Held by a work queue and known to no consumer.' })),
    drainPerSecond: Type.Optional(Type.Number()),
    consumers: Type.Array(ConsumerStats),
  },
  { additionalProperties: false },
);

/** `GET /v1/stats`: streams and consumers as the broker saw them within the last second. */
export function statsRoute(app: App, deps: { readonly watch: BrokerWatch; readonly now: () => number }): void {
  app.get(
    '/v1/stats',
    {
      config: { scope: 'admin' },
      schema: {
        operationId: 'getStats',
        summary: 'Streams and consumers: what waits, what runs, what is stuck',
        tags: ['operations'],
        response: {
          200: Type.Object(
            { at: DateTime, streams: Type.Array(StreamStats) },
            { description: 'As of the last half second.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async () => {
      const state = deps.watch.state();
      if (state === undefined)
        throw new GatewayError('unavailable', 'The broker has not answered yet.', { retryAfterSeconds: 1 });
      const streams = state.streams.map((stream) => statsOf(stream, deps.now()));
      return { at: new Date(state.atMs).toISOString(), streams };
    },
  );
}

function statsOf(stream: StreamState, nowMs: number) {
  const { name, messages, bytes, maxMessages, oldestAtMs, drainPerSecond, consumers } = stream;
  const isWork = stream.retention === 'workqueue';
  const known = consumers.reduce((sum, consumer) => sum + consumer.pending + consumer.ackPending, 0);
  return {
    name,
    kind: isWork ? ('work' as const) : ('log' as const),
    messages,
    bytes,
    ...(maxMessages > 0 ? { maxMessages } : {}),
    ...(oldestAtMs === undefined ? {} : { oldestAgeMs: Math.max(0, Math.round(nowMs - oldestAtMs)) }),
    ...(isWork ? { stuck: Math.max(0, messages - known), drainPerSecond } : {}),
    consumers: consumers.map((consumer) => ({
      name: consumer.name,
      pending: consumer.pending,
      inFlight: consumer.ackPending,
      redelivered: consumer.redelivered,
      pulls: consumer.waiting,
      deadLetters: consumer.deadLetters,
      ratePerSecond: consumer.ratePerSecond,
    })),
  };
}
