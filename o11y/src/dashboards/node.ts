import type { Dashboard } from '../dashboard.ts';
import { inService } from '../promql.ts';

export const node: Dashboard = {
  uid: 'sluice-node',
  title: 'Sluice / Node.js runtime',
  about: 'Event loop, garbage collection, heap, CPU: is the process itself the bottleneck?',
  variables: [
    { name: 'service', label: 'Service', of: { metric: 'service_info', label: 'service' } },
    { name: 'instance', label: 'Instance', of: { metric: 'service_info{service=~"$service"}', label: 'instance' } },
  ],
  rows: [
    {
      title: 'Event loop',
      panels: [
        {
          kind: 'timeseries',
          title: 'Lag, p99',
          about: 'How late a timer fires. Over 200 ms everything in the process waits, heartbeats too.',
          unit: 's',
          queries: [{ expr: `nodejs_eventloop_lag_p99_seconds${inService}`, legend: '{{service}} {{instance}}' }],
          thresholds: [{ from: 0.2, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Busy',
          about: 'Share of time the loop ran instead of waiting. Near 100 %: this process is CPU bound.',
          unit: 'percentunit',
          max: 1,
          queries: [{ expr: `nodejs_eventloop_utilization_ratio${inService}`, legend: '{{service}} {{instance}}' }],
        },
        {
          kind: 'timeseries',
          title: 'CPU',
          about: 'Cores used by the process, worker threads and native code included.',
          queries: [
            {
              expr: `rate(process_cpu_seconds_total${inService}[$__rate_interval])`,
              legend: '{{service}} {{instance}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Memory',
      panels: [
        {
          kind: 'timeseries',
          title: 'Heap against its limit',
          about: 'At 100 % the process dies. Over 90 % for minutes is an alert.',
          unit: 'percentunit',
          max: 1,
          queries: [
            {
              expr: `nodejs_heap_size_used_bytes${inService} / nodejs_heap_size_limit_bytes${inService}`,
              legend: '{{service}} {{instance}}',
            },
          ],
          thresholds: [{ from: 0.9, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Resident memory',
          about: 'What the machine gives: heap, buffers and native code. The container is killed by this one.',
          unit: 'bytes',
          queries: [{ expr: `process_resident_memory_bytes${inService}`, legend: '{{service}} {{instance}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Time in garbage collection',
          about: 'Share of time, by kind. major over 10 %: the heap is too small or something leaks.',
          unit: 'percentunit',
          queries: [
            {
              expr: `sum by (service, instance, kind) (rate(nodejs_gc_duration_seconds_sum${inService}[$__rate_interval]))`,
              legend: '{{service}} {{kind}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Process and machine',
      panels: [
        {
          kind: 'timeseries',
          title: 'Open handles and files',
          about: 'A line that only rises is a leak.',
          queries: [
            { expr: `nodejs_active_resources_total${inService}`, legend: 'resources {{service}} {{instance}}' },
            { expr: `process_open_fds${inService}`, legend: 'files {{service}} {{instance}}' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Uptime',
          about: 'Falls to zero with every restart.',
          unit: 'dtdurations',
          queries: [{ expr: `time() - process_start_time_seconds${inService}`, legend: '{{service}} {{instance}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Machine',
          about: 'Load against processors, and the share of memory that is free.',
          unit: 'percentunit',
          queries: [
            { expr: `max(system_load_average_1m${inService} / system_cpus${inService})`, legend: 'load per processor' },
            {
              expr: `min(system_memory_available_bytes${inService} / system_memory_total_bytes${inService})`,
              legend: 'memory free',
            },
          ],
        },
      ],
    },
    {
      title: 'What runs',
      panels: [
        {
          kind: 'table',
          title: 'Instances',
          about: 'Version and environment of each.',
          width: 24,
          queries: [{ expr: `service_info${inService}` }],
        },
      ],
    },
  ],
};
