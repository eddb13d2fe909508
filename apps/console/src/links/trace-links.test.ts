import { expect, test } from 'vitest';
import { traceLinks } from './trace-links.ts';

const job = {
  id: 'job_1',
  traceId: 'ab'.repeat(16),
  createdAt: '2026-11-29T10:00:00.000Z',
  updatedAt: '2026-11-29T10:00:01.000Z',
};

test('beside `pnpm dev` a job has its trace and its log', () => {
  const links = [{ name: 'Traces and logs', url: 'http://localhost:16686' }];
  expect(traceLinks(links, job)).toEqual([
    { name: 'Trace', url: `http://localhost:16686/trace/${job.traceId}` },
    { name: 'Log', url: 'http://localhost:16686/logs?jobId=job_1' },
  ]);
});

test('beside Jaeger and Grafana the log is looked for by the trace, around the time of the job', () => {
  const links = [
    { name: 'Traces', url: '/jaeger/' },
    { name: 'Dashboards', url: '/grafana/' },
  ];
  const [trace, log] = traceLinks(links, job);
  expect(trace).toEqual({ name: 'Trace', url: `/jaeger/trace/${job.traceId}` });
  const url = new URL(log?.url ?? '', 'http://localhost');
  expect(url.pathname).toBe('/grafana/explore');
  expect(JSON.parse(url.searchParams.get('panes') ?? '')).toMatchObject({
    log: {
      queries: [{ expr: `{service_name=~".+"} | trace_id="${job.traceId}"` }],
      range: { from: String(Date.parse('2026-11-29T09:55:00Z')), to: String(Date.parse('2026-11-29T10:05:01Z')) },
    },
  });
});

test('what does not answer has no link', () => {
  expect(traceLinks([], job)).toEqual([]);
  expect(traceLinks([{ name: 'Traces', url: '/jaeger/' }], job).map(({ name }) => name)).toEqual(['Trace']);
});
