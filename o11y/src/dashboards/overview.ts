import type { Dashboard } from '../dashboard.ts';
import { perConsumer, perStream, quantile, rate } from '../promql.ts';

export const overview: Dashboard = {
  uid: 'sluice-overview',
  title: 'Sluice / Overview',
  about: 'Is anything wrong, how much is going through, how long does it take.',
  rows: [
    {
      title: 'Now',
      panels: [
        {
          kind: 'stat',
          title: 'Replicas up',
          about:
            'Processes of each service that answer the scraper. gateway-worker is there where the gateway is split by ROLE.',
          width: 8,
          height: 5,
          queries: [{ expr: 'sum by (job) (up{job=~"gateway|gateway-worker|email|image|client"})', legend: '{{job}}' }],
          thresholds: [
            { from: 0, colour: 'red' },
            { from: 1, colour: 'green' },
          ],
          links: [{ title: 'Services', url: '/d/sluice-services' }],
        },
        {
          kind: 'stat',
          title: 'Jobs a minute',
          about: 'Accepted, succeeded and failed. Accepted stays above the others while a backlog grows.',
          width: 8,
          height: 5,
          queries: [
            { expr: 'sum(rate(gateway_jobs_accepted_total[$__rate_interval])) * 60', legend: 'accepted' },
            { expr: 'sum by (state) (rate(gateway_jobs_finished_total[$__rate_interval])) * 60', legend: '{{state}}' },
          ],
        },
        {
          kind: 'stat',
          title: 'Waiting',
          about: 'Messages of all work queues that wait or are being worked on.',
          width: 4,
          height: 5,
          queries: [
            {
              expr: `sum(${perConsumer('jetstream_consumer_pending_messages', '{stream!~"JOBS.*|DLQ|EVENTS|AUDIT"}')} + ${perConsumer('jetstream_consumer_ack_pending_messages', '{stream!~"JOBS.*|DLQ|EVENTS|AUDIT"}')})`,
              legend: 'messages',
            },
          ],
          thresholds: [
            { from: 1000, colour: 'orange' },
            { from: 10000, colour: 'red' },
          ],
          links: [{ title: 'Pipelines', url: '/d/sluice-pipelines' }],
        },
        {
          kind: 'stat',
          title: 'Stuck',
          about: 'Messages of work queues that no consumer will deliver. Anything but 0 needs a person.',
          width: 4,
          height: 5,
          queries: [{ expr: `sum(${perStream('jetstream_stream_stuck_messages')})`, legend: 'messages' }],
          thresholds: [{ from: 1, colour: 'red' }],
          links: [{ title: 'JetStream', url: '/d/sluice-jetstream' }],
        },
        {
          kind: 'alerts',
          title: 'Firing alerts',
          about: 'Each has a runbook; its link is in the runbook_url column.',
          width: 24,
          height: 6,
        },
      ],
    },
    {
      title: 'The golden path: accepted to done',
      panels: [
        {
          kind: 'timeseries',
          title: 'Jobs by outcome',
          about: 'Jobs that ended, by how. A failed job is an answer too; a growing gap to accepted is a backlog.',
          unit: 'ops',
          queries: [
            { expr: 'sum(rate(gateway_jobs_accepted_total[$__rate_interval]))', legend: 'accepted' },
            { expr: rate('gateway_jobs_finished_total', 'state'), legend: '{{state}}' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Time from accepted to done',
          about: 'What a client waits. Goals: 99 % of express jobs in 5 s, 95 % of the others in 60 s.',
          unit: 's',
          queries: [
            { expr: quantile(0.5, 'gateway_job_duration_seconds', 'kind'), legend: '{{kind}} p50' },
            { expr: quantile(0.95, 'gateway_job_duration_seconds', 'kind'), legend: '{{kind}} p95', exemplars: true },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Lag by consumer',
          about: 'Waiting and unsettled messages. Rising for minutes: add replicas or find what is slow.',
          queries: [
            {
              expr: `${perConsumer('jetstream_consumer_pending_messages')} + ${perConsumer('jetstream_consumer_ack_pending_messages')}`,
              legend: '{{consumer}}',
            },
          ],
          links: [{ title: 'Pipelines', url: '/d/sluice-pipelines' }],
        },
        {
          kind: 'timeseries',
          title: 'Open jobs',
          about: 'Accepted and not ended. A level that stays while all queues are empty is lost work.',
          width: 12,
          queries: [{ expr: 'max by (kind) (gateway_jobs_open)', legend: '{{kind}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Age of the oldest open job',
          about: 'How long the unluckiest client has been waiting, wherever its job is.',
          width: 12,
          unit: 's',
          queries: [{ expr: 'max by (kind) (gateway_oldest_open_job_age_seconds)', legend: '{{kind}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Why jobs failed',
          about: 'Failures by their stable code.',
          unit: 'ops',
          queries: [
            {
              expr: rate('gateway_jobs_finished_total', 'kind, code', '{state="failed"}'),
              legend: '{{kind}} {{code}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Dead letters',
          about: 'Messages given up. One is a ticket, a burst is a page.',
          unit: 'ops',
          queries: [
            { expr: rate('pipeline_dead_lettered_total', 'pipeline, reason'), legend: '{{pipeline}} {{reason}}' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Queue wait, p95',
          about: 'From being stored to its handler starting: grows before anything else does.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'pipeline_queue_wait_seconds', 'pipeline'),
              legend: '{{pipeline}}',
              exemplars: true,
            },
          ],
        },
      ],
    },
    {
      title: 'Budgets',
      panels: [
        {
          kind: 'timeseries',
          title: 'Error budget burn: accepting work',
          about: '1 spends exactly the 0.1 % of a month. 14.4 for an hour pages.',
          width: 12,
          queries: [
            { expr: 'sluice:accept_error_ratio:rate5m / 0.001', legend: '5 m' },
            { expr: 'sluice:accept_error_ratio:rate1h / 0.001', legend: '1 h' },
          ],
          thresholds: [{ from: 14.4, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Error budget burn: time to done',
          about: 'Jobs slower than their goal (express 5 s, normal 60 s) against the share that may be.',
          width: 12,
          queries: [
            { expr: 'sluice:express_slow_ratio:rate1h / 0.01', legend: 'express, 1 h' },
            { expr: 'sluice:normal_slow_ratio:rate1h / 0.05', legend: 'normal, 1 h' },
          ],
          thresholds: [{ from: 6, colour: 'red' }],
        },
      ],
    },
  ],
};
