import type { KindNames } from '../names.ts';

/** The page of charts. */
export function dashboardFiles({ name, type, upper }: KindNames): Readonly<Record<string, string>> {
  return {
    [`o11y/src/dashboards/${name}.ts`]: `import type { Dashboard } from '../dashboard.ts';
import { quantile, rate } from '../promql.ts';

const P = '{pipeline="${name}_worker"}';

export const ${name}: Dashboard = {
  uid: 'sluice-${name}',
  title: 'Sluice / ${type}',
  about: 'Jobs of ${name}: how many, how long they take, what waits and what fails.',
  rows: [
    {
      title: 'Work',
      panels: [
        {
          kind: 'timeseries',
          title: 'Done, by outcome',
          about: 'ack: done. retry: comes back. deadLetter: given up.',
          unit: 'ops',
          queries: [{ expr: rate('pipeline_messages_settled_total', 'as', P), legend: '{{as}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Handler time, p95',
          about: 'One run. Grows when what the service calls is slow.',
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
          title: 'Waiting, by lane',
          about: 'Messages of both lanes. Grows without end: add replicas.',
          unit: 'short',
          queries: [
            {
              expr: 'max by (stream) (jetstream_stream_messages{stream=~"${upper}|${upper}_EXPRESS"})',
              legend: '{{stream}}',
            },
          ],
        },
      ],
    },
  ],
};
`,
  };
}
