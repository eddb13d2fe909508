import { styleText } from 'node:util';

/** Where a command writes, and whether a person reads it. */
export interface Output {
  /** The result of the command: a line for a person, or nothing with `--json`. */
  print(text: string): void;
  /** The result for a program: only with `--json`. */
  json(value: unknown): void;
  /** On standard error, with and without --json: notes for a person. */
  note(text: string): void;
  /** A bar on standard error while it is a terminal. Undefined total: a count. */
  progress(label: string, unit?: 'bytes' | 'count'): Progress;
  readonly isJson: boolean;
}

export interface Progress {
  set(done: number, total: number): void;
  end(): void;
}

const BAR = 24;
const ERASE = '\r\u001b[K';

export function createOutput(isJson: boolean, streams = { out: process.stdout, error: process.stderr }): Output {
  const { out, error } = streams;
  return {
    isJson,
    print: (text) => void (isJson || out.write(`${text}\n`)),
    json: (value) => void (isJson && out.write(`${JSON.stringify(value)}\n`)),
    note: (text) => void error.write(`${error.isTTY ? styleText('gray', text) : text}\n`),
    progress(label, unit = 'count') {
      const beganMs = performance.now();
      let last = 0;
      return {
        set(done, total) {
          if (!error.isTTY) return;
          const nowMs = performance.now();
          // Ten times a second is what an eye follows; the last one always shows.
          if (nowMs - last < 100 && done < total) return;
          last = nowMs;
          error.write(
            `${ERASE}${progressLine(label, { done, total, elapsedMs: nowMs - beganMs, unit }).slice(0, (error.columns ?? 80) - 1)}`,
          );
        },
        end: () => void (error.isTTY && error.write(ERASE)),
      };
    },
  };
}

/** A bar with the rate and the time that is left. */
export function progressLine(
  label: string,
  { done, total, elapsedMs, unit }: { done: number; total: number; elapsedMs: number; unit: 'bytes' | 'count' },
): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.round(share * BAR);
  const perSecond = elapsedMs > 0 ? (done / elapsedMs) * 1_000 : 0;
  const amount = unit === 'bytes' ? `${bytes(done)} of ${bytes(total)}` : `${done} of ${total}`;
  const rate = unit === 'bytes' ? `${bytes(perSecond)}/s` : `${perSecond.toFixed(1)}/s`;
  const left = perSecond > 0 && done < total ? `, ${duration(((total - done) / perSecond) * 1_000)} left` : '';
  return `${label} ${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${String(Math.round(share * 100)).padStart(3)} %  ${amount}, ${rate}${left}`;
}

export function bytes(count: number): string {
  if (count < 1_000) return `${Math.round(count)} B`;
  if (count < 1_000_000) return `${(count / 1_000).toFixed(1)} kB`;
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(1)} GB`;
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Columns as wide as their widest cell; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const all = [head, ...rows.map((row) => row.map(String))];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const isNumber = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'));
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          isNumber[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
