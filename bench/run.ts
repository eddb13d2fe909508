// `pnpm bench NAME [--quick] [--only PART] [--json FILE]`: runs one bench and prints its table with the machine, the versions and the date.
import { parseCommand } from '@sluice/cli';
import { onParentExit } from '@sluice/dev';
import { existsSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** One figure. `pass` compares it (or its ratio) with the floor the bench sets for it. */
export interface Row {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly ratio?: number;
  readonly floor?: number;
  readonly pass: boolean;
}

/** What a bench returns: its rows, and remarks to print under them (what was skipped and why, versions of peers). */
export interface BenchResult {
  readonly rows: readonly Row[];
  readonly notes?: readonly string[];
}

/** How a bench is to run. */
export interface BenchOptions {
  readonly quick: boolean;
  /** One part of the bench; a bench without parts ignores it. */
  readonly only?: string;
  /** Aborted by Ctrl-C, SIGTERM and the end of the process that started this one. */
  readonly signal: AbortSignal;
}

interface BenchModule {
  /**
   * True for a bench whose run throws soon after the signal is aborted, with everything stopped that it started. The
   * process of any other one ends at once, and takes the processes along that it knows of; their folders stay.
   */
  readonly endsOnSignal?: boolean;
  run(options: BenchOptions): Promise<BenchResult | readonly Row[]>;
}

const { values, positionals } = parseCommand({
  name: 'pnpm bench',
  usage: `usage: pnpm bench NAME [options]   a published figure again, with the machine, the versions and the date

  NAME          pipeline, image, email, gateway, http, grpc, history, backlog, telemetry,
                longevity, attacks or console
  --quick       fewer and shorter runs
  --only PART   one part of a bench that has several
  --json FILE   the rows as JSON, too
  --help        this`,
  maxPositionals: 1,
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' }, json: { type: 'string' } },
});
const [name] = positionals;
if (name === undefined || !/^[a-z][a-z0-9-]*$/.test(name) || !existsSync(new URL(`${name}.ts`, import.meta.url))) {
  console.error(`pnpm bench: no bench is named "${name ?? ''}"; see pnpm bench --help`);
  process.exit(2);
}

const bench = (await import(`./${name}.ts`)) as BenchModule;
const stopping = new AbortController();
/** What a shell says of a process that SIGINT ended. */
const INTERRUPTED = 130;
/** pnpm passes on the SIGINT that a terminal has sent to this process as well: within a second, two are one. */
const SAME_MS = 1_000;
let interruptedMs = Infinity;
const interrupt = (): void => {
  const isSecond = performance.now() - interruptedMs > SAME_MS;
  // A second one does not wait for an orderly end.
  if (bench.endsOnSignal !== true || isSecond) process.exit(INTERRUPTED);
  if (stopping.signal.aborted) return;
  interruptedMs = performance.now();
  console.error(`${name}: stopping`);
  stopping.abort();
};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
onParentExit(interrupt);
const result = await bench
  .run({
    quick: values.quick,
    ...(values.only !== undefined && { only: values.only }),
    signal: stopping.signal,
  })
  .catch((error: unknown) => {
    if (!stopping.signal.aborted) throw error;
    process.exit(INTERRUPTED);
  });
const { rows, notes = [] }: BenchResult = 'rows' in result ? result : { rows: result };

const figure = (value: number): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
const cells = rows.map(({ id, value, unit, ratio, floor, pass }) => [
  id,
  figure(value),
  unit,
  ratio === undefined ? '' : ratio.toFixed(2),
  floor === undefined ? '' : String(Number(floor.toFixed(2))),
  pass ? 'ok' : 'MISSED',
]);
const head = ['figure', 'value', 'unit', 'ratio', 'floor', ''];
const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)));
const print = (row: readonly string[]): void =>
  console.log(
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  );

const [cpu] = cpus();
console.log(
  `${name}${values.quick ? ' (quick)' : ''}: ${new Date().toISOString().slice(0, 10)}, ${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, ` +
    `${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}, Node ${process.versions.node}`,
);
print(head);
for (const row of cells) print(row);
for (const note of notes) console.log(`- ${note}`);
if (values.json !== undefined) {
  writeFileSync(values.json, `${JSON.stringify({ bench: name, quick: values.quick, rows, notes }, null, 2)}\n`);
}
process.exit(rows.every((row) => row.pass) ? 0 : 1);
