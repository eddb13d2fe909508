import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { promExpressions } from './dashboard.ts';
import { dashboards } from './dashboards/index.ts';
import { hasPromtool, promtool } from './promtool.ts';
import { prometheusFolder, readRules } from './rules.ts';

const here = hasPromtool();
if (!here) console.warn('promtool is not here (apt-get install prometheus): rules are not run');

const rules = readRules();
const alerts = rules.filter((rule) => rule.alert !== undefined);
const root = new URL('../../', import.meta.url);
const files = (folder: string): readonly string[] =>
  readdirSync(new URL(folder, prometheusFolder)).map((name) => fileURLToPath(new URL(folder + name, prometheusFolder)));

interface TestFile {
  readonly tests: readonly {
    readonly name: string;
    readonly promql_expr_test: readonly { readonly exp_samples?: readonly unknown[] }[];
  }[];
}
const tests = files('tests/').flatMap((file) => (parse(readFileSync(file, 'utf8')) as TestFile).tests);

describe('the rules', () => {
  test.skipIf(!here)('are what Prometheus accepts', () => {
    const { ok, output } = promtool('check', 'rules', ...files('rules/'));
    expect(ok, output).toBe(true);
  });

  test.skipIf(!here)(
    'fire and clear on made series',
    () => {
      const { ok, output } = promtool('test', 'rules', ...files('tests/'));
      expect(ok, output).toBe(true);
      // promtool evaluates hours of series: seconds by itself, more while every core is at work.
    },
    180_000,
  );
});

test('a matcher of a bucket names the spellings of Prometheus 2 and 3', () => {
  const expressions = [
    ...rules.map(({ expr, alert, record, file }) => ({ expr, where: `${file}: ${alert ?? record}` })),
    ...dashboards.flatMap((each) =>
      promExpressions(each).map(({ expr, panel }) => ({ expr, where: `${each.title}: ${panel}` })),
    ),
  ];
  for (const { expr, where } of expressions) {
    for (const [matcher, operator, value] of expr.matchAll(/\b(?:le|quantile)\s*(=~?)\s*"([^"]*)"/g)) {
      const whole = operator === '=' && /^\d+(?:\.0)?$/.test(value ?? '');
      expect(whole, `${where}: ${matcher} must be =~"N(\\\\.0)?"`).toBe(false);
    }
  }
});

describe.each(alerts.map((rule) => [rule.alert ?? '', rule] as const))('the alert %s', (name, rule) => {
  test('says how bad it is and what it means', () => {
    expect(['page', 'ticket', 'none']).toContain(rule.labels?.['severity']);
    expect(rule.annotations?.['summary']).toBeTruthy();
  });

  test('is tested to be quiet, to fire and to clear', () => {
    const steps = tests.find((each) => each.name === name)?.promql_expr_test ?? [];
    const expected = name === 'Watchdog' ? [true] : [false, true, false];
    expect(steps.map((step) => (step.exp_samples ?? []).length > 0)).toEqual(expected);
  });

  test('has a runbook that says what to do and how to cause it', () => {
    const page = new URL(rule.annotations?.['runbook_url'] ?? '', root);
    expect(existsSync(page), page.pathname).toBe(true);
    const text = readFileSync(page, 'utf8');
    expect(text).toContain(name);
    for (const heading of ['## What it means', '## Look at', '## Do', '## Cause it on purpose']) {
      expect(text, page.pathname).toContain(heading);
    }
  });
});

test('every runbook belongs to an alert', () => {
  const used = new Set(alerts.map((rule) => rule.annotations?.['runbook_url']?.split('/').at(-1)));
  const pages = readdirSync(new URL('docs/runbooks/', root)).filter(
    (name) => name.endsWith('.md') && name !== 'README.md',
  );
  expect(pages.filter((page) => !used.has(page) && !page.startsWith('how-to-'))).toEqual([]);
});
