import { figure } from './table.ts';
import type { BenchReport } from './result.ts';

/** How one bench of several ended. */
export interface Outcome {
  readonly name: string;
  readonly seconds: number;
  /** Absent for one that broke off. */
  readonly report?: BenchReport;
  readonly brokeOff?: string;
}

/** What `pnpm bench all` prints at its end: a line for each bench, each floor that was missed, what was left out and why. */
export function summaryLines(
  outcomes: readonly Outcome[],
  skipped: readonly { readonly name: string; readonly why: string }[],
  longestSeconds?: number,
): { readonly lines: readonly string[]; readonly passed: boolean } {
  const width = Math.max(5, ...outcomes.map(({ name }) => name.length));
  const line = ({ name, seconds, report, brokeOff }: Outcome): string => {
    const missed = report?.rows.filter(({ pass }) => !pass).length ?? 0;
    const how =
      report === undefined
        ? `BROKE OFF: ${brokeOff}`
        : `${report.rows.length} figures${missed === 0 ? '' : `, ${missed} MISSED`}`;
    return `${name.padEnd(width)}  ${String(seconds).padStart(5)} s  ${how}`;
  };
  const missed = outcomes.flatMap(({ report }) =>
    (report?.rows ?? [])
      .filter(({ pass }) => !pass)
      .map(
        ({ id, value, unit, ratio, floor }) =>
          `missed: ${id} ${figure(value)} ${unit}${ratio === undefined ? '' : `, ratio ${ratio.toFixed(2)}`}` +
          (floor === undefined ? '' : `, floor ${Number(floor.toFixed(2))}`),
      ),
  );
  const total = outcomes.reduce((sum, { seconds }) => sum + seconds, 0);
  const late = longestSeconds !== undefined && total > longestSeconds;
  const limit = longestSeconds === undefined ? '' : `, at most ${longestSeconds} s${late ? ': MISSED' : ''}`;
  return {
    lines: [
      ...outcomes.map(line),
      `${'all'.padEnd(width)}  ${String(total).padStart(5)} s${limit}`,
      ...missed,
      ...skipped.map(({ name, why }) => `not part of this: ${name}, which ${why}`),
    ],
    passed: !late && missed.length === 0 && outcomes.every(({ report }) => report !== undefined),
  };
}
