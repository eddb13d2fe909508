/**
 * Dashboards as data. What a panel shows is said here in a few words and written out as Grafana's JSON (the v1 format,
 * which Grafana 13 reads and migrates on load): one place for uids, units, colours and layout.
 */

/** A PromQL query and the legend of its series. */
export interface Query {
  readonly expr: string;
  readonly legend?: string;
  /** Points that open the trace behind them; for histogram buckets. */
  readonly exemplars?: boolean;
  /** A single point in time instead of a range: tables and stats. */
  readonly instant?: boolean;
}

export type Unit = 's' | 'ms' | 'bytes' | 'percentunit' | 'reqps' | 'ops' | 'short' | 'Bps' | 'dtdurations' | 'cps';

interface Base {
  readonly title: string;
  /** What it means and when to worry: the (i) of the panel. */
  readonly about: string;
  /** In 24ths of the page. Three in a row (8 each) stay readable at 1280 px. */
  readonly width?: number;
  readonly height?: number;
}

export interface MetricPanel extends Base {
  readonly kind: 'timeseries' | 'stat' | 'table' | 'heatmap' | 'bargauge' | 'state-timeline';
  readonly unit?: Unit;
  readonly queries: readonly Query[];
  readonly stacked?: boolean;
  readonly max?: number;
  /** Values from which on the colour changes, lowest first. */
  readonly thresholds?: readonly { readonly from: number; readonly colour: 'green' | 'orange' | 'red' }[];
  /** Where a click leads. */
  readonly links?: readonly { readonly title: string; readonly url: string }[];
}

export interface LogPanel extends Base {
  readonly kind: 'logs';
  /** LogQL. */
  readonly expr: string;
}

export interface LogGraphPanel extends Base {
  readonly kind: 'loggraph';
  readonly expr: string;
  readonly legend: string;
}

export interface AlertPanel extends Base {
  readonly kind: 'alerts';
}

export type Panel = MetricPanel | LogPanel | LogGraphPanel | AlertPanel;

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Variable {
  readonly name: string;
  readonly label: string;
  /** A label of a metric whose values are offered. */
  readonly of: { readonly metric: string; readonly label: string };
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly about: string;
  readonly variables?: readonly Variable[];
  readonly rows: readonly Row[];
}

type Value = Json | readonly Value[] | string | number | boolean | null;
interface Json {
  readonly [key: string]: Value;
}

export const PROMETHEUS = { type: 'prometheus', uid: 'prometheus' };
export const LOKI = { type: 'loki', uid: 'loki' };

const PAGE_WIDTH = 24;

/** Grafana's JSON of a dashboard. */
export function toGrafana(dashboard: Dashboard): Json {
  let id = 0;
  let y = 0;
  const panels: Json[] = [];
  for (const row of dashboard.rows) {
    id += 1;
    panels.push({
      id,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: PAGE_WIDTH, h: 1 },
      panels: [],
    });
    y += 1;
    let x = 0;
    let tallest = 0;
    for (const panel of row.panels) {
      const w = panel.width ?? 8;
      const h = panel.height ?? 8;
      if (x + w > PAGE_WIDTH) {
        x = 0;
        y += tallest;
        tallest = 0;
      }
      id += 1;
      panels.push({ id, title: panel.title, description: panel.about, gridPos: { x, y, w, h }, ...body(panel) });
      x += w;
      tallest = Math.max(tallest, h);
    }
    y += tallest;
  }
  return {
    uid: dashboard.uid,
    title: dashboard.title,
    description: dashboard.about,
    tags: ['sluice'],
    schemaVersion: 41,
    version: 1,
    editable: false,
    graphTooltip: 1,
    timezone: 'browser',
    refresh: '10s',
    time: { from: 'now-30m', to: 'now' },
    timepicker: { refresh_intervals: ['5s', '10s', '30s', '1m', '5m'] },
    links: [
      {
        type: 'dashboards',
        tags: ['sluice'],
        title: 'Sluice',
        asDropdown: true,
        includeVars: true,
        keepTime: true,
        icon: 'external link',
        targetBlank: false,
        url: '',
        tooltip: '',
      },
    ],
    annotations: {
      list: [
        annotation('Starts', 'changes(process_start_time_seconds[1m]) > 0', 'started', 'blue'),
        annotation('Alerts', 'ALERTS{alertstate="firing",alertname!="Watchdog"}', '{{alertname}}', 'red'),
      ],
    },
    templating: { list: (dashboard.variables ?? []).map(variable) },
    panels,
  };
}

/** Every PromQL expression of a dashboard, with the panel it stands in. */
export function promExpressions(dashboard: Dashboard): readonly { readonly panel: string; readonly expr: string }[] {
  return dashboard.rows.flatMap((row) =>
    row.panels.flatMap((panel) =>
      'queries' in panel ? panel.queries.map(({ expr }) => ({ panel: `${row.title} / ${panel.title}`, expr })) : [],
    ),
  );
}

/** The LogQL expressions of a dashboard, with the panel that asks each. */
export function logExpressions(dashboard: Dashboard): readonly { readonly panel: string; readonly expr: string }[] {
  return dashboard.rows.flatMap((row) =>
    row.panels.flatMap((panel) =>
      panel.kind === 'logs' || panel.kind === 'loggraph'
        ? [{ panel: `${row.title} / ${panel.title}`, expr: panel.expr }]
        : [],
    ),
  );
}

function body(panel: Panel): Json {
  switch (panel.kind) {
    case 'logs':
      return {
        type: 'logs',
        datasource: LOKI,
        targets: [{ refId: 'A', datasource: LOKI, expr: panel.expr, queryType: 'range' }],
        options: {
          showTime: true,
          wrapLogMessage: true,
          enableLogDetails: true,
          sortOrder: 'Descending',
          dedupStrategy: 'none',
        },
      };
    case 'loggraph':
      return {
        type: 'timeseries',
        datasource: LOKI,
        targets: [{ refId: 'A', datasource: LOKI, expr: panel.expr, legendFormat: panel.legend, queryType: 'range' }],
        fieldConfig: {
          defaults: {
            unit: 'short',
            custom: { drawStyle: 'bars', fillOpacity: 60, stacking: { mode: 'normal', group: 'A' } },
          },
          overrides: [],
        },
        options: legendBelow,
      };
    case 'alerts':
      return {
        type: 'table',
        datasource: PROMETHEUS,
        targets: [
          {
            refId: 'A',
            datasource: PROMETHEUS,
            expr: 'ALERTS{alertstate="firing",alertname!="Watchdog"}',
            format: 'table',
            instant: true,
          },
        ],
        transformations: [
          {
            id: 'organize',
            options: {
              excludeByName: { Time: true, Value: true, __name__: true, alertstate: true },
              indexByName: {},
              renameByName: {},
            },
          },
        ],
        options: { showHeader: true },
        fieldConfig: { defaults: { noValue: 'nothing fires' }, overrides: [] },
      };
    default:
      return metricBody(panel);
  }
}

const legendBelow: Json = {
  legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
  tooltip: { mode: 'multi', sort: 'desc' },
};

function metricBody(panel: MetricPanel): Json {
  const targets: Json[] = panel.queries.map((query, at) => ({
    refId: String.fromCharCode(65 + at),
    datasource: PROMETHEUS,
    expr: query.expr,
    legendFormat: query.legend ?? '__auto',
    exemplar: query.exemplars ?? false,
    instant: query.instant ?? panel.kind === 'table',
    range: !(query.instant ?? panel.kind === 'table'),
    format: panel.kind === 'table' ? 'table' : panel.kind === 'heatmap' ? 'heatmap' : 'time_series',
  }));
  const defaults: Json = {
    unit: panel.unit ?? 'short',
    min: 0,
    ...(panel.max === undefined ? {} : { max: panel.max }),
    color: { mode: panel.thresholds === undefined || panel.kind === 'timeseries' ? 'palette-classic' : 'thresholds' },
    thresholds: {
      mode: 'absolute',
      steps: [
        { color: 'green', value: null },
        ...(panel.thresholds ?? []).map(({ from, colour }): Json => ({ color: colour, value: from })),
      ],
    },
    links: (panel.links ?? []).map(({ title, url }): Json => ({ title, url, targetBlank: false })),
    ...(panel.kind === 'timeseries'
      ? {
          custom: {
            drawStyle: 'line',
            lineWidth: 1,
            fillOpacity: panel.stacked === true ? 40 : 10,
            showPoints: 'never',
            spanNulls: false,
            stacking: { mode: panel.stacked === true ? 'normal' : 'none', group: 'A' },
            thresholdsStyle: { mode: panel.thresholds === undefined ? 'off' : 'line' },
          },
        }
      : {}),
  };
  return {
    type: panel.kind,
    datasource: PROMETHEUS,
    targets,
    fieldConfig: { defaults, overrides: [] },
    options: optionsOf(panel),
  };
}

function optionsOf(panel: MetricPanel): Json {
  switch (panel.kind) {
    case 'stat':
      return {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        colorMode: 'value',
        graphMode: 'area',
        textMode: 'auto',
        justifyMode: 'auto',
      };
    case 'bargauge':
      return {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        displayMode: 'gradient',
        orientation: 'horizontal',
      };
    case 'table':
      return { showHeader: true, cellHeight: 'sm' };
    case 'heatmap':
      return {
        calculate: false,
        color: { scheme: 'Oranges', mode: 'scheme', steps: 64 },
        yAxis: { unit: panel.unit ?? 's' },
        cellGap: 1,
        tooltip: { mode: 'single', yHistogram: true },
      };
    case 'state-timeline':
      return { showValue: 'auto', mergeValues: true, ...legendBelow };
    default:
      return legendBelow;
  }
}

function annotation(name: string, expr: string, title: string, colour: string): Json {
  return {
    name,
    datasource: PROMETHEUS,
    enable: true,
    expr,
    titleFormat: title,
    iconColor: colour,
    step: '10s',
    textFormat: '{{job}} {{instance}}',
  };
}

function variable({ name, label, of }: Variable): Json {
  return {
    name,
    label,
    type: 'query',
    datasource: PROMETHEUS,
    query: { query: `label_values(${of.metric}, ${of.label})`, refId: name },
    definition: `label_values(${of.metric}, ${of.label})`,
    refresh: 2,
    multi: true,
    includeAll: true,
    // Loki refuses a selector whose only matcher also matches the empty string, which `.*` does.
    allValue: '.+',
    current: { selected: true, text: ['All'], value: ['$__all'] },
    sort: 1,
  };
}
