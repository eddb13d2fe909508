import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { dashboards } from './dashboards/index.ts';
import { logExpressions, promExpressions, toGrafana } from './dashboard.ts';
import { refusedLogQuery } from './logql.ts';
import { metricsIn, withoutMacros } from './metrics-in.ts';
import { hasPromtool, promtool } from './promtool.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-dashboards-'));
afterAll(() => rmSync(folder, { recursive: true }));
const promtoolHere = hasPromtool();
if (!promtoolHere) console.warn('promtool is not here (apt-get install prometheus): expressions are not parsed');

describe.each(dashboards.map((each) => [each.title, each] as const))('the dashboard %s', (_, dashboard) => {
  const panels = dashboard.rows.flatMap((row) => row.panels);

  test('is checked in as the program writes it', () => {
    const file = new URL(`../grafana/dashboards/${dashboard.uid}.json`, import.meta.url);
    expect(JSON.parse(readFileSync(file, 'utf8')), 'run pnpm gen:dashboards').toEqual(
      JSON.parse(JSON.stringify(toGrafana(dashboard))),
    );
  });

  test('says of every panel what it means and when to worry', () => {
    for (const panel of panels) expect(panel.about.length, panel.title).toBeGreaterThan(10);
  });

  test('is readable at 1280 px: graphs are a third of the page or more, nothing overlaps', () => {
    for (const panel of panels) {
      const least = panel.kind === 'stat' ? 4 : 8;
      expect(panel.width ?? 8, panel.title).toBeGreaterThanOrEqual(least);
      expect(panel.width ?? 8, panel.title).toBeLessThanOrEqual(24);
    }
    const placed = (
      toGrafana(dashboard)['panels'] as { gridPos: { x: number; y: number; w: number; h: number } }[]
    ).map(({ gridPos }) => gridPos);
    for (const [i, a] of placed.entries()) {
      expect(a.x + a.w).toBeLessThanOrEqual(24);
      for (const b of placed.slice(i + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
        expect(apart, `${JSON.stringify(a)} and ${JSON.stringify(b)}`).toBe(true);
      }
    }
  });

  test.skipIf(!promtoolHere)('asks only what Prometheus can parse', () => {
    const expressions = promExpressions(dashboard);
    if (expressions.length === 0) return;
    const rules = expressions.map(({ expr }, at) => ({ record: `check:panel:n${at}`, expr: withoutMacros(expr) }));
    const file = join(folder, `${dashboard.uid}.yml`);
    writeFileSync(file, stringify({ groups: [{ name: 'panels', rules }] }));
    const { ok, output } = promtool('check', 'rules', file);
    expect(ok, output).toBe(true);
  });

  test('asks only what Loki takes, with every value of a variable chosen', () => {
    for (const { panel, expr } of logExpressions(dashboard)) {
      expect(refusedLogQuery(withoutMacros(expr)), panel).toBeUndefined();
    }
  });
});

test('variables choose all values by an expression that does not match the empty string', () => {
  const all = dashboards.flatMap((each) => {
    const { list } = toGrafana(each)['templating'] as { list: readonly { allValue: string }[] };
    return list.map(({ allValue }) => allValue);
  });
  expect(new Set(all)).toEqual(new Set(['.+']));
});

test.each([
  ['{service_name=~".*"}', 'no matcher of {service_name=~".*"} excludes the empty string'],
  ['{service_name!="x"} |= "a"', 'no matcher of {service_name!="x"} excludes the empty string'],
  ['{service_name=~".+"} | level=', 'syntax error at 29: {service_name=~".+"} | level=<here>'],
  ['sum(rate({a="b", c=~".*"}[5m]))', undefined],
])('the log query %s is judged as Loki judges it', (expr, refused) => {
  expect(refusedLogQuery(expr)).toBe(refused);
});

test.each([
  ['sum by (le, pipeline) (rate(a_bucket{x="y_z"}[5m]))', ['a_bucket']],
  ['a / on (stream) group_left (b) c', ['a', 'c']],
  ['(a or vector(0)) / clamp_min(c, 1e-6) > 14.4 * 0.001', ['a', 'c']],
  ['sluice:x:rate5m and max(d) == 0', ['sluice:x:rate5m', 'd']],
])('the metrics in %s are read from it', (expr, names) => {
  expect(metricsIn(expr)).toEqual(names);
});
