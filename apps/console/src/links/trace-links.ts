import type { Job } from '@sluice/client';

export interface Link {
  readonly name: string;
  readonly url: string;
}
export type TracedJob = Pick<Job, 'id' | 'traceId' | 'createdAt' | 'updatedAt'>;

/** Before a job and after it: clocks differ, and a log line may come late. */
const AROUND_MS = 5 * 60_000;

/**
 * Where the trace and the log of a job can be read. Jaeger and `pnpm dev` name their pages of traces alike; the log is
 * beside them there, and in Loki where Grafana is.
 */
export function traceLinks(links: readonly Link[], job: TracedJob): readonly Link[] {
  const traces = links.find(({ name }) => name.startsWith('Traces'));
  const dashboards = links.find(({ name }) => name.startsWith('Dashboards'));
  const base = traces?.url.replace(/\/$/, '');
  return [
    ...(base === undefined ? [] : [{ name: 'Trace', url: `${base}/trace/${job.traceId}` }]),
    ...(traces?.name.includes('logs') === true
      ? [{ name: 'Log', url: `${base}/logs?jobId=${encodeURIComponent(job.id)}` }]
      : dashboards === undefined
        ? []
        : [{ name: 'Log', url: lokiUrl(dashboards.url, job) }]),
  ];
}

/** Explore of Grafana, with the lines of all services that carry the trace of the job. */
function lokiUrl(grafana: string, { traceId, createdAt, updatedAt }: TracedJob): string {
  const datasource = { type: 'loki', uid: 'loki' };
  const expr = `{service_name=~".+"} | trace_id="${traceId}"`;
  const range = {
    from: String(Date.parse(createdAt) - AROUND_MS),
    to: String(Date.parse(updatedAt) + AROUND_MS),
  };
  const panes = { log: { datasource: datasource.uid, queries: [{ refId: 'A', datasource, expr }], range } };
  const query = new URLSearchParams({ schemaVersion: '1', orgId: '1', panes: JSON.stringify(panes) });
  return `${grafana.replace(/\/$/, '')}/explore?${query.toString()}`;
}
