import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

const GRAFANA = join(import.meta.dirname, '../../o11y/grafana');

/** A query as Grafana sends it when a dashboard is opened. */
export interface GrafanaQuery {
  readonly panel: string;
  readonly datasource: 'prometheus' | 'loki';
  readonly expr: string;
}

interface Target {
  readonly datasource: { readonly uid: GrafanaQuery['datasource'] };
  readonly expr: string;
}

/** What Grafana loads: a file of o11y/grafana/dashboards. */
export interface GrafanaDashboard {
  readonly title: string;
  readonly panels: readonly { readonly title: string; readonly targets?: readonly Target[] }[];
  readonly annotations: { readonly list: readonly (Target & { readonly name: string })[] };
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition: string }[] };
}

export const grafanaDashboards: readonly GrafanaDashboard[] = readdirSync(join(GRAFANA, 'dashboards')).map(
  (file) => JSON.parse(readFileSync(join(GRAFANA, 'dashboards', file), 'utf8')) as GrafanaDashboard,
);

/** Every query of a dashboard: of its panels, of its annotations. */
export function queriesOf({ panels, annotations }: GrafanaDashboard): readonly GrafanaQuery[] {
  return [
    ...panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ datasource, expr }) => ({ panel: title, datasource: datasource.uid, expr })),
    ),
    ...annotations.list.map(({ name, datasource, expr }) => ({
      panel: `annotation ${name}`,
      datasource: datasource.uid,
      expr,
    })),
  ];
}

/** The series and the label that each variable offers the values of. */
export function variablesOf({
  templating,
}: GrafanaDashboard): readonly { readonly metric: string; readonly label: string }[] {
  return templating.list.map(({ definition }) => {
    const [, metric, label] = /^label_values\((\w+(?:\{.*\})?), (\w+)\)$/.exec(definition) ?? [];
    if (metric === undefined || label === undefined) throw new Error(`a variable asks ${definition}`);
    return { metric, label };
  });
}

/** An expression with Grafana's macros filled in, and `value` chosen for every variable: `.+` is All. */
export function filledIn(expr: string, value = '.+'): string {
  return expr
    .replaceAll('$__rate_interval', '20s')
    .replaceAll(/\$__(?:interval|auto|range)/g, '15s')
    .replaceAll(/\$\{?\w+\}?/g, value);
}

interface TraceLink {
  readonly tags: readonly { readonly key: string; readonly value: string }[];
}

/** The links from a span in the data source of Jaeger. */
export function traceLinks(): {
  readonly logs: TraceLink & { readonly query: string };
  readonly metrics: TraceLink & { readonly queries: readonly { readonly name: string; readonly query: string }[] };
} {
  const file = readFileSync(join(GRAFANA, 'provisioning/datasources/datasources.yaml'), 'utf8');
  // Grafana reads `$$` as `$`.
  const { datasources } = parse(file.replaceAll('$$', '$')) as {
    datasources: readonly { uid: string; jsonData: Record<string, unknown> }[];
  };
  const data = datasources.find(({ uid }) => uid === 'jaeger')?.jsonData ?? {};
  return { logs: data['tracesToLogsV2'], metrics: data['tracesToMetrics'] } as ReturnType<typeof traceLinks>;
}
