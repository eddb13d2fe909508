// `pnpm bench [NAME|all] [--quick] [--only PART] [--json FILE|DIR]`: lists the benches, runs one and prints its table with
// the machine, the versions and the date, or runs all in turn.
import { parseCommand } from '@sluice/cli';
import { onParentExit } from '@sluice/dev';
import { benches, benchLines } from './frame/benches.ts';
import { machine, QUIET_PROCESSORS, startOtherWork, today } from './frame/machine.ts';
import type { BenchOptions, BenchReport, BenchResult, Row } from './frame/result.ts';
import { writeReport } from './frame/report-file.ts';
import { runAll } from './frame/run-all.ts';
import { tableLines } from './frame/table.ts';

export type { BenchOptions, BenchResult, Row } from './frame/result.ts';

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
  usage: `usage: pnpm bench [NAME|all] [options]   published figures again, with the machine, the versions and the date

  NAME          one of the list below; without a name only the list is printed
  all           each in turn, and a summary; one that fails does not keep the others from running
  --quick       fewer and shorter runs; with all: within five minutes on two quiet cores
  --only PART   one part of a bench that has several
  --json PATH   the rows as JSON, too: a file, or a folder with a file for each bench, in which one part takes
                the place of that part alone
  --help        this

${benchLines()
  .map((line) => `  ${line}`)
  .join('\n')}`,
  maxPositionals: 1,
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' }, json: { type: 'string' } },
});
const [name] = positionals;
const { quick, only, json } = values;

/** What a shell says of a process that SIGINT ended. */
const INTERRUPTED = 130;
/** pnpm passes on the SIGINT that a terminal has sent to this process as well: within a second, two are one. */
const SAME_MS = 1_000;

if (name === undefined) {
  console.log(benchLines().join('\n'));
  process.exit(0);
}
if (name === 'all' && only !== undefined) refuse('--only takes one bench, not all');
const bench = benches.find((each) => each.name === name);
if (bench === undefined && name !== 'all') refuse(`no bench is named "${name}"`);
if (only !== undefined && bench?.parts === undefined) refuse(`${name} has no parts`);

const stopping = new AbortController();
process.exit(name === 'all' ? await all() : await one(name));

function refuse(why: string): never {
  console.error(`pnpm bench: ${why}; see pnpm bench --help`);
  process.exit(2);
}

/** Runs all as processes of their own, which have what they need to end on a signal. */
async function all(): Promise<number> {
  let interruptedMs = Infinity;
  const interrupt = (): void => {
    if (performance.now() - interruptedMs > SAME_MS) process.exit(INTERRUPTED);
    if (stopping.signal.aborted) return;
    interruptedMs = performance.now();
    stopping.abort();
  };
  listen(interrupt);
  const passed = await runAll({ quick, signal: stopping.signal, ...(json !== undefined && { folder: json }) });
  return stopping.signal.aborted ? INTERRUPTED : passed ? 0 : 1;
}

async function one(bench: string): Promise<number> {
  const module = (await import(`./${bench}.ts`)) as BenchModule;
  let interruptedMs = Infinity;
  listen(() => {
    const isSecond = performance.now() - interruptedMs > SAME_MS;
    // A second one does not wait for an orderly end.
    if (module.endsOnSignal !== true || isSecond) process.exit(INTERRUPTED);
    if (stopping.signal.aborted) return;
    interruptedMs = performance.now();
    console.error(`${bench}: stopping`);
    stopping.abort();
  });
  const beganMs = performance.now();
  const others = startOtherWork();
  let result: BenchResult;
  try {
    const options = { quick, ...(only !== undefined && { only }), signal: stopping.signal };
    const returned = await module.run(options);
    result = 'rows' in returned ? returned : { rows: returned };
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    return INTERRUPTED;
  }
  const seconds = Math.round((performance.now() - beganMs) / 1000);
  const otherWork = Math.max(0, Math.round(others() * 100) / 100);
  const about = { bench, quick, date: today(), machine: machine(), seconds };
  const report: BenchReport = { ...about, ...(Number.isFinite(otherWork) && { otherWork }), ...result };
  print(report);
  if (json !== undefined) writeReport(report, json, only !== undefined);
  return result.rows.every(({ pass }) => pass) ? 0 : 1;
}

function listen(interrupt: () => void): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  onParentExit(interrupt);
}

function print({ bench, rows, notes = [], date, machine, seconds, otherWork = 0 }: BenchReport): void {
  console.log(`${bench}${quick ? ' (quick)' : ''}: ${date}, ${machine}, ${seconds} s`);
  if (otherWork > QUIET_PROCESSORS) {
    console.log(`NOT A QUIET MACHINE: other work has taken ${otherWork} processors; rates and times say nothing.`);
  }
  for (const line of tableLines(rows)) console.log(line);
  for (const note of notes) console.log(`- ${note}`);
}
