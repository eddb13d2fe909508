import { benches } from '../frame/benches.ts';
import { barChart, lineChart } from '../frame/line-chart.ts';
import { QUIET_PROCESSORS } from '../frame/machine.ts';
import type { BenchReport } from '../frame/result.ts';
import { figure } from '../frame/table.ts';
import { billionSection } from './billion.ts';
import { floors, type Find, type Floor } from './floors.ts';

const COLUMNS = 100;

/** The page and its pictures, by name below docs/benchmarks. */
export interface BenchmarksPage {
  readonly markdown: string;
  readonly pictures: ReadonlyMap<string, string>;
}

/** How one floor was kept. */
export interface Judged {
  readonly floor: Floor;
  readonly measured: number | undefined;
  readonly verdict: 'met' | 'missed' | 'not measured';
}

/** @param reports by bench. */
export function judge(reports: ReadonlyMap<string, BenchReport>): readonly Judged[] {
  const find: Find = (bench, id) => reports.get(bench)?.rows.find((row) => row.id.trim() === id);
  return floors.map((floor) => {
    const measured = floor.measured(find);
    if (measured === undefined || Number.isNaN(measured))
      return { floor, measured: undefined, verdict: 'not measured' };
    const isKept = measured >= (floor.atLeast ?? -Infinity) && measured <= (floor.atMost ?? Infinity);
    return { floor, measured, verdict: isKept ? 'met' : 'missed' };
  });
}

/**
 * docs/benchmarks.md from what `pnpm bench ... --json` wrote.
 *
 * @param flames names of the flame graphs that lie in docs/benchmarks, without their ending.
 * @param about what stands before the figures: how to take them, and from outside.
 */
export function benchmarksPage(
  reports: readonly BenchReport[],
  flames: readonly string[],
  about: string,
): BenchmarksPage {
  const byName = new Map(reports.map((report) => [report.bench, report]));
  const known = benches.flatMap(({ name, measures }) => {
    const report = byName.get(name);
    return report === undefined ? [] : [{ report, measures }];
  });
  const pictures = new Map(known.flatMap(({ report }) => picturesOf(report)));
  const judged = judge(byName);
  const sections = known.map(({ report, measures }) => sectionOf(report, measures));
  const billion = billionSection(byName.get('scale')?.rows ?? []);
  const missing = benches.filter(({ name }) => !byName.has(name));
  const markdown = [
    '# Benchmarks',
    '<!-- Written by `pnpm gen:benchmarks-docs` from docs/benchmarks/*.json: change bench/docs. -->',
    wrapped(takenOn(known.map(({ report }) => report))),
    about.trim(),
    '## What is asked, and what is met',
    wrapped(countOf(judged)),
    floorTable(judged, flames),
    ...(flames.length === 0 ? [] : ['## Where the time goes', ...flames.map(flameLine)]),
    ...(billion === undefined ? [] : ['## A billion mails a month', wrapped(ABOUT_BILLION), billion]),
    ...(known.length === 0 ? [] : ['## Figures', wrapped(ABOUT_FIGURES)]),
    ...sections,
    ...(missing.length === 0
      ? []
      : ['## Not in this run', missing.map(({ name, measures }) => item(`\`${name}\`: ${measures}`)).join('\n')]),
  ].join('\n\n');
  return { markdown: `${markdown}\n`, pictures };
}

const ABOUT_FIGURES =
  'Of each bench every row. `ratio` is what the row says it is compared with; `floor` is what the bench asks of it, at most where the row says so.';
const ABOUT_BILLION =
  'CPU adds up, times do not: a job takes the same processor time on more machines. What is not in it: PostgreSQL in the place of SQLite, the network between machines, and a broker whose disk is slower than this one.';

function takenOn(reports: readonly BenchReport[]): string {
  if (reports.length === 0) return 'Not taken yet: there is no report in docs/benchmarks.';
  const machines = [...new Set(reports.map(({ machine }) => machine))];
  const dates = [...new Set(reports.map(({ date }) => date))].toSorted();
  const quick = reports.filter((report) => report.quick).map(({ bench }) => `\`${bench}\``);
  return (
    `Taken ${dates.length === 1 ? `on ${dates[0]}` : `from ${dates[0]} to ${dates.at(-1)}`}: ${machines.join('; ')}. ` +
    'Broker, services and load share the cores, so an absolute rate is that of all of them together: CPU for one unit of work says more. ' +
    (quick.length === 0 ? 'All are full runs.' : `With \`--quick\`, and so from fewer rounds: ${quick.join(', ')}.`)
  );
}

function countOf(judged: readonly Judged[]): string {
  const count = (verdict: Judged['verdict']): number => judged.filter((each) => each.verdict === verdict).length;
  return `${count('met')} met, ${count('missed')} missed, ${count('not measured')} not measured in this run.`;
}

const cell = (text: string): string => text.replaceAll('|', '\\|').trim();

function floorTable(judged: readonly Judged[], flames: readonly string[]): string {
  const line = ({ floor, measured, verdict }: Judged): string => {
    const asked =
      floor.atLeast === undefined ? `at most ${figure(floor.atMost ?? 0)}` : `at least ${figure(floor.atLeast)}`;
    const shown = measured === undefined ? '' : figure(measured);
    const profile =
      floor.flame !== undefined && flames.includes(floor.flame)
        ? ` [Profile](benchmarks/flame-${floor.flame}.svg).`
        : '';
    const why = verdict === 'missed' ? `${floor.why ?? ''}${profile}` : '';
    const said = verdict === 'missed' ? '**missed**' : verdict;
    return `| ${[floor.area, floor.what, `${asked} ${floor.unit}`, shown, said, why, `\`${floor.command}\``].map(cell).join(' | ')} |`;
  };
  return [
    '| area | what | asked | measured | | why it is missed | command |',
    '| --- | --- | --- | ---: | --- | --- | --- |',
    ...judged.map(line),
  ].join('\n');
}

const flameLine = (name: string): string => `![flame graph of ${name}](benchmarks/flame-${name}.svg)`;

function sectionOf(report: BenchReport, measures: string): string {
  const { bench, quick, rows, notes = [], date, seconds, otherWork = 0 } = report;
  const busy =
    otherWork > QUIET_PROCESSORS
      ? ` Other work took ${otherWork} processors meanwhile: read the CPU of a unit of work, and no rate and no time.`
      : '';
  const command = `pnpm bench ${bench}${quick ? ' --quick' : ''}`;
  const table = [
    '| figure | value | unit | ratio | floor | |',
    '| --- | ---: | --- | ---: | ---: | --- |',
    ...rows.map(
      ({ id, value, unit, ratio, floor, pass }) =>
        `| ${[
          id,
          figure(value),
          unit,
          ratio?.toFixed(2) ?? '',
          floor === undefined ? '' : String(Number(floor.toFixed(2))),
          pass ? '' : '**missed**',
        ]
          .map(cell)
          .join(' | ')} |`,
    ),
  ].join('\n');
  return [
    `### ${bench}`,
    wrapped(`${measures[0]?.toUpperCase()}${measures.slice(1)}. \`${command}\`, ${date}, ${seconds} s.${busy}`),
    ...picturesOf(report).map(([name]) => `![figures of ${bench}](benchmarks/${name})`),
    table,
    ...(notes.length === 0 ? [] : [notes.map(item).join('\n')]),
  ].join('\n\n');
}

/** The charts of a bench; where it has none, the CPU of each process as bars. */
function picturesOf(report: BenchReport): readonly (readonly [name: string, svg: string])[] {
  const { bench, rows, charts = [], date } = report;
  const drawn = charts.map(
    ({ id, title, xUnit, curves }) =>
      [`${bench}-${id}.svg`, lineChart({ title: `${title}, ${date}`, xUnit, lines: curves })] as const,
  );
  const bars = rows
    .filter(({ unit }) => /^(?:µs|us)\b.*(?:CPU|\/)/.test(unit))
    .map(({ id, value }) => [id.trim(), value, 'µs'] as const);
  if (bars.length < 3) return drawn;
  return [...drawn, [`${bench}-cpu.svg`, barChart({ title: `${bench}: CPU for one unit of work, ${date}`, bars })]];
}

/** Lines of at most so many columns, as every page of docs/ has them. */
export function wrapped(text: string, first = '', then = ''): string {
  const lines: string[] = [];
  let line = first;
  for (const word of wordsOf(text)) {
    const gap = line === first || line === then ? '' : ' ';
    if (line !== first && line !== then && line.length + gap.length + word.length > COLUMNS) {
      lines.push(line);
      line = then + word;
    } else line += gap + word;
  }
  return [...lines, line].join('\n');
}

/** Words, with what stands between two backticks as one: a code span is not broken. */
const wordsOf = (text: string): readonly string[] => text.match(/(?:`[^`]*`|\S)+/g) ?? [];

const item = (note: string): string => wrapped(note, '- ', '  ');
