import type { Dashboard } from '../dashboard.ts';
import { quantile, rate, share } from '../promql.ts';

export const image: Dashboard = {
  uid: 'sluice-image',
  title: 'Sluice / Image conversion',
  about: 'Pictures in, PDFs out: how many, how fast, by which path, and the object store under it.',
  rows: [
    {
      title: 'Conversions',
      panels: [
        {
          kind: 'timeseries',
          title: 'Conversions by outcome',
          about: 'succeeded, or why not.',
          unit: 'ops',
          queries: [{ expr: rate('image_conversions_total', 'outcome'), legend: '{{outcome}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Conversions by path',
          about: 'How the pixels went: passed through untouched, or decoded and drawn again (slower).',
          unit: 'ops',
          queries: [{ expr: rate('image_conversions_total', 'path'), legend: '{{path}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Failures',
          about: 'Share of conversions. Pictures that are broken count too: look at the outcome.',
          unit: 'percentunit',
          queries: [
            {
              expr: share(
                'sum(rate(image_conversions_total{outcome!="succeeded"}[$__rate_interval])) or vector(0)',
                'sum(rate(image_conversions_total[$__rate_interval]))',
              ),
              legend: 'failed',
            },
          ],
          thresholds: [{ from: 0.05, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Duration',
          about: 'From the first byte read to the last byte stored.',
          unit: 's',
          queries: [
            { expr: quantile(0.5, 'image_conversion_duration_seconds', 'path'), legend: '{{path}} p50' },
            {
              expr: quantile(0.95, 'image_conversion_duration_seconds', 'path'),
              legend: '{{path}} p95',
              exemplars: true,
            },
          ],
          thresholds: [{ from: 30, colour: 'red' }],
        },
        {
          kind: 'heatmap',
          title: 'Duration, all of it',
          about: 'Small and large pictures make two bands.',
          unit: 's',
          queries: [
            {
              expr: 'sum by (le) (rate(image_conversion_duration_seconds_bucket[$__rate_interval]))',
              legend: '{{le}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Pages by format',
          about: 'What people send.',
          unit: 'ops',
          queries: [{ expr: rate('image_pages_total', 'format'), legend: '{{format}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Bytes',
          about: 'Pictures read and PDFs written.',
          unit: 'Bps',
          queries: [
            { expr: 'sum(rate(image_input_bytes_total[$__rate_interval]))', legend: 'in' },
            { expr: 'sum(rate(image_output_bytes_total[$__rate_interval]))', legend: 'out' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Decoders',
          about: 'Processes that decode pictures, apart from the service: a picture that kills one kills nothing else.',
          queries: [
            { expr: 'sum by (state) (image_decoders)', legend: '{{state}}' },
            { expr: 'sum(image_decoder_queue)', legend: 'pictures waiting' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Decoders ended',
          about: 'For memory, for time, by a crash, or retired in good order.',
          unit: 'ops',
          queries: [{ expr: rate('image_decoders_ended_total', 'why'), legend: '{{why}}' }],
        },
      ],
    },
    {
      title: 'Object store',
      panels: [
        {
          kind: 'timeseries',
          title: 'Operations',
          about: 'Of all services, retries inside.',
          unit: 'ops',
          queries: [
            {
              expr: rate('object_store_operation_duration_seconds_count', 'service, operation'),
              legend: '{{service}} {{operation}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Time, p95',
          about: 'By operation.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'object_store_operation_duration_seconds', 'operation'),
              legend: '{{operation}}',
              exemplars: true,
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Errors and cleanup',
          about: 'Operations that failed after their retries; how long ago the cleanup last succeeded (every 15 min).',
          queries: [
            {
              expr: rate('object_store_operation_duration_seconds_count', 'operation', '{outcome="error"}'),
              legend: '{{operation}} errors',
            },
            {
              expr: '(time() - max by (prefix) (storage_cleanup_last_success_timestamp_seconds)) / 60',
              legend: 'minutes since the last cleanup of {{prefix}}',
            },
          ],
        },
      ],
    },
  ],
};
