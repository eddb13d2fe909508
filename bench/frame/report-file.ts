import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { BenchReport } from './result.ts';

/**
 * Writes a report into a file, or under the name of its bench into a folder. The report of one part takes the place of that
 * part alone, if the other ones were measured by the same form of the bench on the same day and machine.
 */
export function writeReport(report: BenchReport, path: string, isPart: boolean): void {
  const isFolder = path.endsWith('/') || (existsSync(path) && statSync(path).isDirectory());
  const file = isFolder ? join(path, `${report.bench}.json`) : path;
  mkdirSync(dirname(file), { recursive: true });
  const before = isPart && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as BenchReport) : undefined;
  const whole = before === undefined ? report : merged(before, report);
  writeFileSync(file, `${JSON.stringify(whole, null, 2)}\n`);
}

/** A report with what another one of the same bench has measured besides. */
export function merged(before: BenchReport, now: BenchReport): BenchReport {
  const isSame = (['bench', 'quick', 'date', 'machine'] as const).every((key) => before[key] === now[key]);
  if (!isSame) return now;
  const notes = [...new Set([...(before.notes ?? []), ...(now.notes ?? [])])];
  const charts = [
    ...(before.charts ?? []).filter(({ id }) => !now.charts?.some((chart) => chart.id === id)),
    ...(now.charts ?? []),
  ];
  const { otherWork = 0 } = before;
  return {
    ...now,
    seconds: before.seconds + now.seconds,
    rows: [...before.rows.filter(({ id }) => !now.rows.some((row) => row.id === id)), ...now.rows],
    ...(notes.length === 0 ? {} : { notes }),
    ...(charts.length === 0 ? {} : { charts }),
    ...(now.otherWork === undefined ? {} : { otherWork: Math.max(otherWork, now.otherWork) }),
  };
}
