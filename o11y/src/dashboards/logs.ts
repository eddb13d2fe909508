import type { Dashboard } from '../dashboard.ts';

export const logs: Dashboard = {
  uid: 'sluice-logs',
  title: 'Sluice / Logs',
  about: 'All lines of all services; one job’s lines: add | job_id="job_..." to a query, or open them from its trace.',
  variables: [{ name: 'service', label: 'Service', of: { metric: 'service_info', label: 'service' } }],
  rows: [
    {
      title: 'Volume',
      panels: [
        {
          kind: 'loggraph',
          title: 'Lines by level',
          about: 'A change of shape is a change of behaviour.',
          width: 12,
          expr: 'sum by (detected_level) (count_over_time({service_name=~"$service"}[$__auto]))',
          legend: '{{detected_level}}',
        },
        {
          kind: 'loggraph',
          title: 'Lines by service',
          about: 'Who talks, and who fell silent.',
          width: 12,
          expr: 'sum by (service_name) (count_over_time({service_name=~"$service"}[$__auto]))',
          legend: '{{service_name}}',
        },
      ],
    },
    {
      title: 'Lines',
      panels: [
        {
          kind: 'logs',
          title: 'Warnings and errors',
          about: 'Each with its trace.',
          width: 24,
          height: 10,
          expr: '{service_name=~"$service"} | detected_level=~"warn|error|fatal"',
        },
        {
          kind: 'logs',
          title: 'Everything',
          about: 'Newest first.',
          width: 24,
          height: 14,
          expr: '{service_name=~"$service"}',
        },
      ],
    },
  ],
};
