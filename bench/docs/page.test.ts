import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { benches } from '../frame/benches.ts';
import type { BenchReport, Row } from '../frame/result.ts';
import { flameLoads } from './flame-loads.ts';
import { billionSection } from './billion.ts';
import { floors } from './floors.ts';
import { KEPT, PAGE, pageOf } from './generate.ts';
import { benchmarksPage, judge, wrapped } from './page.ts';

const report = (bench: string, rows: readonly Row[], more: Partial<BenchReport> = {}): BenchReport => ({
  bench,
  quick: false,
  date: '2026-11-29',
  machine: '2 x CPU, 24 GiB, linux x64, Node 24.21.0',
  seconds: 61,
  rows,
  ...more,
});
const row = (id: string, value: number, more: Partial<Row> = {}): Row => ({
  id,
  value,
  unit: 'x',
  pass: true,
  ...more,
});
const http = report('http', [
  row('http.frame_get', 55.5, { unit: 'µs of CPU a request', ratio: 2.5, floor: 1.5, pass: false }),
  row('http.frame_post', 40, { unit: 'µs of CPU a request', ratio: 1.4, floor: 1.5 }),
  row('http.plain_get', 22.2, { unit: 'µs of CPU a request' }),
]);

describe('a floor', () => {
  const verdictOf = (what: RegExp, ...reports: readonly BenchReport[]) =>
    judge(new Map(reports.map((each) => [each.bench, each]))).find(({ floor }) => what.test(floor.what))?.verdict;

  test('is missed, met, or not measured in this run', () => {
    expect(verdictOf(/CPU of a GET through the frame/, http)).toBe('missed');
    expect(verdictOf(/CPU of a POST with validation/, http)).toBe('met');
    expect(verdictOf(/unary calls/, http)).toBe('not measured');
    expect(verdictOf(/CPU of a GET through the frame/, report('http', []))).toBe('not measured');
  });

  test('over several rows is that of the worst, and needs all of them', () => {
    const rgba = (ratio: number, size: string) => row(`rgba-${size}.png vs ImageMagick`, 100, { ratio });
    expect(verdictOf(/RGBA/, report('image', [rgba(9, '4mp'), rgba(7.9, '24mp')]))).toBe('missed');
    expect(verdictOf(/RGBA/, report('image', [rgba(9, '4mp'), rgba(8, '24mp')]))).toBe('met');
    expect(verdictOf(/RGBA/, report('image', [rgba(9, '4mp')]))).toBe('not measured');
  });

  test('names a bench that there is, and a flame graph that can be drawn', () => {
    for (const { command, flame } of floors) {
      expect(benches.map(({ name }) => name)).toContain(/^pnpm bench ([a-z]+)/.exec(command)?.[1]);
      if (flame !== undefined) expect(Object.keys(flameLoads)).toContain(flame);
    }
  });
});

describe('the page', () => {
  const chart = { id: 'rates', title: 'p99', xUnit: 'jobs/s', curves: [{ name: 'mails', points: [[1, 2]] as const }] };
  const notes = [`a note that is long enough to be wrapped, ${'word '.repeat(30)}and \`code that stays together\``];
  const scale = report('pipeline', [row('engine | 64 slots', 1, { pass: false })], {
    charts: [chart],
    notes,
    quick: true,
  });
  const { markdown, pictures } = benchmarksPage([scale, http], ['gateway-get-job'], 'About it.');

  test('says what was missed and why, with the profile', () => {
    expect(markdown).toContain('1 met, 1 missed, ');
    expect(markdown).toMatch(
      /^\| HTTP \| CPU of a GET .* \| at most 1.5 x \| 2.5 \| \*\*missed\*\* \| Hooks, .* \[Profile\]\(benchmarks\/flame-gateway-get-job\.svg\)\. \| `pnpm bench http` \|$/m,
    );
  });

  test('says of each bench its command and its date, in the order of the list', () => {
    expect(markdown.replaceAll('\n', ' ')).toContain('`pnpm bench pipeline --quick`, 2026-11-29, 61 s.');
    expect(markdown.indexOf('### http')).toBeLessThan(markdown.indexOf('### pipeline'));
    expect(markdown).toContain('`--quick`, and so from fewer rounds: `pipeline`.');
    expect(markdown).toContain('| engine \\| 64 slots | 1 | x |  |  | **missed** |');
  });

  test('says of a bench beside which the machine had other work that its rates say nothing', () => {
    const busy = benchmarksPage([{ ...http, otherWork: 1.2 }], [], '').markdown.replaceAll('\n', ' ');
    expect(busy).toContain('Other work took 1.2 processors meanwhile');
    expect(markdown).not.toContain('Other work');
  });

  test('has a picture of each chart, and bars where CPU was measured', () => {
    expect([...pictures.keys()]).toEqual(['http-cpu.svg', 'pipeline-rates.svg']);
    for (const name of pictures.keys()) expect(markdown).toContain(`(benchmarks/${name})`);
  });

  test('names the benches that were not run', () => {
    expect(markdown).toMatch(/## Not in this run\n\n(?:- `\w+`: .*\n)*- `grpc`/);
  });

  test('is wrapped as every page is, and no code span is broken', () => {
    const prose = markdown.split('\n').filter((line) => !/^(?:\||!\[|<!--)/.test(line));
    expect(Math.max(...prose.map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(markdown).toContain('`code that stays together`');
    expect(wrapped('a b', '- ', '  ')).toBe('- a b');
  });
});

describe('a billion jobs a month', () => {
  const rows = [
    row('scale.mails_1w_R1', 400),
    row('scale.mails_1w_R1_cpu_gateway', 1_000),
    row('scale.mails_1w_R1_cpu_brokers', 500),
    row('scale.mails_1w_R1_cpu_workers', 1_500),
    row('scale.mails_stored', 10),
  ];

  test('is calculated from what was measured', () => {
    const section = billionSection(rows) ?? '';
    expect(section).toContain('| jobs/s on average | 1,000,000,000 / 2,592,000 s | 386 |');
    expect(section).toContain('| gateways, one thread each | 1.93 processors, rounded up | 2 |');
    expect(section).toContain('| processor hours a month | 1,000,000,000 x 3,000 µs / 3,600 s | 833 |');
    expect(section).toMatch(/messages\/s that are stored .* 11,574 \|/);
  });

  test('is left out where a factor was not measured', () => {
    expect(billionSection(rows.slice(1))).toBeUndefined();
    expect(benchmarksPage([report('scale', rows.slice(1))], [], '').markdown).not.toContain('billion');
    expect(benchmarksPage([report('scale', rows)], [], '').markdown).toContain('## A billion mails a month');
  });
});

describe('docs/benchmarks.md', () => {
  const kept = existsSync(KEPT) ? readdirSync(KEPT) : [];

  test.skipIf(!existsSync(PAGE))('is what the reports beside it make', () => {
    const { markdown, pictures } = pageOf(KEPT);
    expect(readFileSync(PAGE, 'utf8'), 'npx pnpm gen:benchmarks-docs').toBe(markdown);
    for (const [name, svg] of pictures) expect(readFileSync(join(KEPT, name), 'utf8')).toBe(svg);
    const known = [...pictures.keys(), ...benches.map(({ name }) => `${name}.json`)];
    expect(kept.filter((name) => !known.includes(name) && !name.startsWith('flame-'))).toEqual([]);
  });

  test('has no picture of 200 kB or more', () => {
    for (const name of kept) if (name.endsWith('.svg')) expect(statSync(join(KEPT, name)).size).toBeLessThan(200_000);
  });

  test('names no path of the machine', () => {
    const files = [...(existsSync(PAGE) ? [PAGE] : []), ...kept.map((name) => join(KEPT, name))];
    for (const file of files) expect(readFileSync(file, 'utf8')).not.toMatch(/\/(?:work|home|root|tmp)\//);
  });
});
