import type { Dashboard } from '../dashboard.ts';
import { perConsumer, quantile, rate, share } from '../promql.ts';

const P = '{pipeline=~"$pipeline"}';

export const pipelines: Dashboard = {
  uid: 'sluice-pipelines',
  title: 'Sluice / Pipelines',
  about: 'The engine: who does how much, how long it takes, what comes back and what is given up.',
  variables: [
    { name: 'pipeline', label: 'Pipeline', of: { metric: 'pipeline_messages_in_flight', label: 'pipeline' } },
  ],
  rows: [
    {
      title: 'Flow',
      panels: [
        {
          kind: 'timeseries',
          title: 'Done, by replica: the load balance',
          about:
            'Replicas of a service share one consumer. Even lines: the load is even. A line at zero: a replica that does not pull.',
          unit: 'ops',
          width: 12,
          stacked: true,
          queries: [
            {
              expr: rate('pipeline_messages_settled_total', 'service, instance', '{pipeline=~"$pipeline",as="ack"}'),
              legend: '{{service}} {{instance}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Settled, by how',
          about:
            'ack: done. skip: nothing to do. retry: comes back. released: returned to the queue untouched by a drain.',
          unit: 'ops',
          width: 12,
          queries: [
            { expr: rate('pipeline_messages_settled_total', 'pipeline, as', P), legend: '{{pipeline}} {{as}}' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Handler time, p95',
          about: 'By outcome. The points are messages: a click opens the trace.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'messaging_process_duration_seconds', 'pipeline', P),
              legend: '{{pipeline}}',
              exemplars: true,
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Queue wait, p95',
          about: 'First deliveries, from stored to started. Grows while handlers are as fast as ever: add replicas.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'pipeline_queue_wait_seconds', 'pipeline', P),
              legend: '{{pipeline}}',
              exemplars: true,
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'In flight',
          about: 'Handlers running, by replica. Pinned at the concurrency: saturated.',
          queries: [
            {
              expr: `sum by (pipeline, instance) (pipeline_messages_in_flight${P})`,
              legend: '{{pipeline}} {{instance}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Time to drain',
          about: 'Lag over throughput: how long until empty if nothing came in any more.',
          unit: 'dtdurations',
          queries: [
            {
              expr: `sum by (consumer) (${perConsumer('jetstream_consumer_pending_messages')}) / clamp_min(sum by (consumer) (max by (consumer, stream) (rate(jetstream_consumer_ack_floor_sequence[$__rate_interval]))), 0.001)`,
              legend: '{{consumer}}',
            },
          ],
        },
        {
          kind: 'heatmap',
          title: 'Handler time',
          about: 'All outcomes: a second band is a second kind of work, or a timeout.',
          unit: 's',
          width: 12,
          queries: [
            {
              expr: `sum by (le) (rate(messaging_process_duration_seconds_bucket${P}[$__rate_interval]))`,
              legend: '{{le}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Held here',
          about: 'Delivered and not started; asked for and not delivered; acks not yet confirmed; retries not yet due.',
          width: 12,
          queries: [
            { expr: `sum by (pipeline) (pipeline_messages_buffered${P})`, legend: '{{pipeline}} buffered' },
            { expr: `sum by (pipeline) (pipeline_messages_requested${P})`, legend: '{{pipeline}} requested' },
            { expr: `sum by (pipeline) (pipeline_acks_unconfirmed${P})`, legend: '{{pipeline}} acks unconfirmed' },
            { expr: `sum by (pipeline) (pipeline_messages_parked${P})`, legend: '{{pipeline}} parked' },
          ],
        },
      ],
    },
    {
      title: 'Trouble',
      panels: [
        {
          kind: 'timeseries',
          title: 'Redeliveries',
          about: 'Share of deliveries that were not the first. Over 5 % for long is worth a look.',
          unit: 'percentunit',
          queries: [
            {
              expr: share(
                rate('pipeline_redeliveries_total', 'pipeline', P),
                `sum by (pipeline) (rate(pipeline_messages_received_total${P}[$__rate_interval]))`,
              ),
              legend: '{{pipeline}}',
            },
          ],
          thresholds: [{ from: 0.05, colour: 'orange' }],
        },
        {
          kind: 'timeseries',
          title: 'Retries and dead letters',
          about: 'Nacked with a delay; dead-lettered, by reason.',
          unit: 'ops',
          queries: [
            { expr: rate('pipeline_retries_scheduled_total', 'pipeline', P), legend: '{{pipeline}} retry' },
            {
              expr: rate('pipeline_dead_lettered_total', 'pipeline, reason', P),
              legend: '{{pipeline}} dead: {{reason}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Timeouts and hung handlers',
          about: 'Handlers that ran out of time, and those that did not even stop then: each holds a slot.',
          queries: [
            {
              expr: `sum by (pipeline) (increase(pipeline_handler_timeouts_total${P}[$__rate_interval]))`,
              legend: '{{pipeline}} timeouts',
            },
            { expr: `sum by (pipeline) (pipeline_hung_handlers${P})`, legend: '{{pipeline}} hung' },
          ],
        },
        {
          kind: 'state-timeline',
          title: 'State',
          about: 'tripped: the breaker stopped pulling. disconnected: no broker, or no consumer.',
          width: 12,
          queries: [
            {
              expr: `max by (pipeline, state) (pipeline_state{pipeline=~"$pipeline",state!="running"})`,
              legend: '{{pipeline}} {{state}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Connection, sources, breaker',
          about: 'Losses of the connection, pulls the server left unanswered, trips of the breaker.',
          width: 12,
          queries: [
            {
              expr: `sum by (pipeline) (increase(pipeline_connection_losses_total${P}[$__rate_interval]))`,
              legend: '{{pipeline}} connection lost',
            },
            {
              expr: `sum by (pipeline) (increase(pipeline_breaker_trips_total${P}[$__rate_interval]))`,
              legend: '{{pipeline}} breaker tripped',
            },
            {
              expr: `sum by (pipeline) (increase(pipeline_emit_failures_total${P}[$__rate_interval]))`,
              legend: '{{pipeline}} emit failed',
            },
            {
              expr: `sum by (pipeline) (increase(pipeline_dead_letter_failures_total${P}[$__rate_interval]))`,
              legend: '{{pipeline}} dead letter not stored',
            },
            {
              expr: `sum by (pipeline) (increase(pipeline_claims_lost_total${P}[$__rate_interval]))`,
              legend: '{{pipeline}} claim lost',
            },
          ],
        },
        {
          kind: 'stat',
          title: 'Healthy',
          about: '1: makes progress, which a live connection alone does not prove.',
          width: 24,
          height: 5,
          queries: [{ expr: `min by (pipeline) (pipeline_healthy${P})`, legend: '{{pipeline}}' }],
          thresholds: [
            { from: 0, colour: 'red' },
            { from: 1, colour: 'green' },
          ],
        },
      ],
    },
  ],
};
