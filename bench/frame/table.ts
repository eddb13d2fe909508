import type { Row } from './result.ts';

/** A figure with three digits that count, or whole from a thousand on. */
export const figure = (value: number): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));

const HEAD = ['figure', 'value', 'unit', 'ratio', 'floor', ''];

/** The rows of a bench as lines of equal columns. */
export function tableLines(rows: readonly Row[]): readonly string[] {
  const cells = rows.map(({ id, value, unit, ratio, floor, pass }) => [
    id,
    figure(value),
    unit,
    ratio === undefined ? '' : ratio.toFixed(2),
    floor === undefined ? '' : String(Number(floor.toFixed(2))),
    pass ? 'ok' : 'MISSED',
  ]);
  const widths = HEAD.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)));
  return [HEAD, ...cells].map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  );
}
