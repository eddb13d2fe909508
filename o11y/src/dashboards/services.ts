import type { Dashboard } from '../dashboard.ts';
import { inService, quantile, rate, share } from '../promql.ts';

const HTTP = 'http_server_request_duration_seconds';
const ROUTED = '{service=~"$service",instance=~"$instance",route=~"$route"}';

export const services: Dashboard = {
  uid: 'sluice-services',
  title: 'Sluice / Services (RED)',
  about: 'Rate, errors and duration of every HTTP route; then what each service publishes and how its telemetry does.',
  variables: [
    { name: 'service', label: 'Service', of: { metric: 'service_info', label: 'service' } },
    { name: 'instance', label: 'Instance', of: { metric: 'service_info{service=~"$service"}', label: 'instance' } },
    { name: 'route', label: 'Route', of: { metric: `${HTTP}_count`, label: 'route' } },
  ],
  rows: [
    {
      title: 'HTTP',
      panels: [
        {
          kind: 'timeseries',
          title: 'Requests',
          about: 'By route; the shape of the day is normal, a sudden zero is not.',
          unit: 'reqps',
          queries: [{ expr: rate(`${HTTP}_count`, 'method, route', ROUTED), legend: '{{method}} {{route}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Errors',
          about: 'Share of answers by class: 5xx is ours, 4xx the caller’s.',
          unit: 'percentunit',
          queries: [
            {
              expr: share(
                `sum(rate(${HTTP}_count{service=~"$service",instance=~"$instance",route=~"$route",status=~"5.."}[$__rate_interval])) or vector(0)`,
                `sum(rate(${HTTP}_count${ROUTED}[$__rate_interval]))`,
              ),
              legend: '5xx',
            },
            {
              expr: share(
                `sum(rate(${HTTP}_count{service=~"$service",instance=~"$instance",route=~"$route",status=~"4.."}[$__rate_interval])) or vector(0)`,
                `sum(rate(${HTTP}_count${ROUTED}[$__rate_interval]))`,
              ),
              legend: '4xx',
            },
          ],
          thresholds: [
            { from: 0.01, colour: 'orange' },
            { from: 0.05, colour: 'red' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Duration',
          about: 'The points are requests: a click opens the trace.',
          unit: 's',
          queries: [
            { expr: quantile(0.5, HTTP, '', ROUTED), legend: 'p50' },
            { expr: quantile(0.95, HTTP, '', ROUTED), legend: 'p95', exemplars: true },
            { expr: quantile(0.99, HTTP, '', ROUTED), legend: 'p99', exemplars: true },
          ],
        },
        {
          kind: 'table',
          title: 'Slowest routes, p95',
          about: 'Over the last minutes.',
          width: 8,
          unit: 's',
          queries: [{ expr: `topk(10, ${quantile(0.95, HTTP, 'method, route', ROUTED)})` }],
        },
        {
          kind: 'timeseries',
          title: 'Turned away',
          about: '429 is a limit doing its work, 503 the system protecting itself: nothing was accepted.',
          unit: 'reqps',
          queries: [
            {
              expr: rate(`${HTTP}_count`, 'status, route', '{service=~"$service",status=~"429|503"}'),
              legend: '{{status}} {{route}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Open',
          about: 'Requests being answered and event streams that are listened to.',
          queries: [
            { expr: `sum by (instance) (http_server_active_requests${inService})`, legend: 'requests {{instance}}' },
            { expr: `sum by (instance) (http_server_open_streams${inService})`, legend: 'streams {{instance}}' },
          ],
        },
      ],
    },
    {
      title: 'Publishing',
      panels: [
        {
          kind: 'timeseries',
          title: 'Publishes',
          about: 'By subject, each confirmed by the stream.',
          unit: 'ops',
          queries: [
            {
              expr: rate('messaging_client_operation_duration_seconds_count', 'service, destination', inService),
              legend: '{{service}} → {{destination}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Time to confirmation, p99',
          about: 'From sending to the PubAck: the broker’s own speed.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.99, 'messaging_client_operation_duration_seconds', 'destination', inService),
              legend: '{{destination}}',
              exemplars: true,
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Refused publishes',
          about: 'By code: TIMEOUT means it is not known whether it was stored; it is repeated with the same id.',
          unit: 'ops',
          queries: [
            {
              expr: rate(
                'messaging_client_operation_duration_seconds_count',
                'service, error_type',
                '{service=~"$service",error_type!=""}',
              ),
              legend: '{{service}} {{error_type}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Telemetry itself',
      panels: [
        {
          kind: 'timeseries',
          title: 'Sent to the collector',
          about: 'Spans and log records. `failed` means the collector did not take them; work goes on without.',
          width: 12,
          unit: 'ops',
          queries: [
            {
              expr: rate('telemetry_items_exported_total', 'service, signal, result', inService),
              legend: '{{service}} {{signal}} {{result}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Offered',
          about: 'What the services wanted to send; more than was sent for long means the queue is full and drops.',
          width: 12,
          unit: 'ops',
          queries: [
            {
              expr: rate('telemetry_items_offered_total', 'service, signal', inService),
              legend: '{{service}} {{signal}}',
            },
          ],
        },
      ],
    },
    {
      title: 'What went wrong lately',
      panels: [
        {
          kind: 'logs',
          title: 'Errors',
          about: 'Each line has its trace.',
          width: 24,
          height: 9,
          expr: '{service_name=~"$service"} | detected_level=~"error|fatal"',
        },
      ],
    },
  ],
};
