import type { Dashboard } from '../dashboard.ts';
import { perConsumer, perStream, share } from '../promql.ts';

const S = '{stream=~"$stream"}';

export const jetstream: Dashboard = {
  uid: 'sluice-jetstream',
  title: 'Sluice / NATS and JetStream',
  about: 'Streams and consumers as the broker sees them, and the broker itself.',
  variables: [{ name: 'stream', label: 'Stream', of: { metric: 'jetstream_stream_messages', label: 'stream' } }],
  rows: [
    {
      title: 'Streams',
      panels: [
        {
          kind: 'stat',
          title: 'JetStream answers',
          about: '0: the gateway gets no answer from the broker.',
          width: 4,
          height: 8,
          queries: [{ expr: 'max(jetstream_up)', legend: 'up' }],
          thresholds: [
            { from: 0, colour: 'red' },
            { from: 1, colour: 'green' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Messages',
          about: 'A work queue is empty when its work is done; a log keeps what it was told.',
          width: 10,
          queries: [{ expr: perStream('jetstream_stream_messages', S), legend: '{{stream}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Stuck',
          about: 'In a work queue, and no consumer has it pending or out. Lag panels cannot show these.',
          width: 10,
          queries: [{ expr: perStream('jetstream_stream_stuck_messages', S), legend: '{{stream}}' }],
          thresholds: [{ from: 1, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Age of the oldest message',
          about: 'Of work queues: how long the unluckiest job waits. Better than depth.',
          unit: 's',
          queries: [
            {
              expr: perStream(
                'jetstream_stream_oldest_message_age_seconds',
                '{stream=~"$stream",stream!~"JOBS.*|DLQ|EVENTS|AUDIT"}',
              ),
              legend: '{{stream}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Fill',
          about: 'Messages against the limit, where the stream has one. At 100 % nothing more is accepted (503).',
          unit: 'percentunit',
          max: 1,
          queries: [
            {
              expr: share(perStream('jetstream_stream_messages', S), perStream('jetstream_stream_limit_messages', S)),
              legend: '{{stream}}',
            },
          ],
          thresholds: [
            { from: 0.8, colour: 'orange' },
            { from: 0.9, colour: 'red' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Bytes',
          about: 'On disk, by stream.',
          unit: 'bytes',
          queries: [{ expr: perStream('jetstream_stream_bytes', S), legend: '{{stream}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Stored',
          about: 'New messages a second.',
          unit: 'ops',
          queries: [
            {
              expr: `max by (stream) (rate(jetstream_stream_last_sequence${S}[$__rate_interval]))`,
              legend: '{{stream}}',
            },
          ],
        },
        {
          kind: 'table',
          title: 'Dead letters kept',
          about: 'Browse and replay them: GET /v1/dead-letters.',
          queries: [{ expr: perStream('jetstream_stream_messages', '{stream="DLQ"}') }],
        },
      ],
    },
    {
      title: 'Consumers',
      panels: [
        {
          kind: 'timeseries',
          title: 'Pending',
          about: 'Waiting to be delivered.',
          queries: [{ expr: perConsumer('jetstream_consumer_pending_messages', S), legend: '{{consumer}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Out for acknowledgement',
          about: 'Share of max_ack_pending. At 100 % delivery stops; delayed retries count too.',
          unit: 'percentunit',
          max: 1,
          queries: [
            {
              expr: share(
                perConsumer('jetstream_consumer_ack_pending_messages', S),
                perConsumer('jetstream_consumer_max_ack_pending_messages', S),
              ),
              legend: '{{consumer}}',
            },
          ],
          thresholds: [{ from: 0.9, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Waiting pulls',
          about: '0 with messages pending: no worker asks for work.',
          queries: [{ expr: perConsumer('jetstream_consumer_waiting_pulls', S), legend: '{{consumer}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Acknowledged',
          about: 'How fast the ack floor moves. Flat with messages pending: stalled.',
          unit: 'ops',
          queries: [
            {
              expr: `max by (stream, consumer) (rate(jetstream_consumer_ack_floor_sequence${S}[$__rate_interval]))`,
              legend: '{{consumer}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Being redelivered',
          about: 'Messages out for the second time or more, right now.',
          queries: [{ expr: perConsumer('jetstream_consumer_redelivered_messages', S), legend: '{{consumer}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Gap between delivered and acknowledged',
          about: 'One message that never settles holds the floor back while work goes on above it.',
          queries: [
            {
              expr: `${perConsumer('jetstream_consumer_delivered_sequence', S)} - ${perConsumer('jetstream_consumer_ack_floor_sequence', S)}`,
              legend: '{{consumer}}',
            },
          ],
        },
      ],
    },
    {
      title: 'The broker',
      panels: [
        {
          kind: 'timeseries',
          title: 'CPU and memory',
          about: 'Of the server process.',
          unit: 'bytes',
          queries: [{ expr: 'max by (server_id) (gnatsd_varz_mem)', legend: 'memory' }],
        },
        {
          kind: 'timeseries',
          title: 'Messages',
          about: 'Through the server, everything included: acks, pulls, heartbeats.',
          unit: 'ops',
          queries: [
            { expr: 'sum(rate(gnatsd_varz_in_msgs[$__rate_interval]))', legend: 'in' },
            { expr: 'sum(rate(gnatsd_varz_out_msgs[$__rate_interval]))', legend: 'out' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Connections and slow consumers',
          about: 'A slow consumer is a client the server had to cut off.',
          queries: [
            { expr: 'max(gnatsd_varz_connections)', legend: 'connections' },
            { expr: 'max(gnatsd_varz_slow_consumers)', legend: 'slow consumers' },
          ],
        },
      ],
    },
  ],
};
