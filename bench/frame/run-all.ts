import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { planOfAll } from './benches.ts';
import type { BenchReport } from './result.ts';
import { summaryLines, type Outcome } from './summary.ts';

const RUN = join(import.meta.dirname, '../run.ts');
/** One that hangs must not hide the others. */
const LONGEST_S = { quick: 240, full: 5_400 };
const STOP_GRACE_MS = 30_000;
/** What all of them together may take with `--quick`. */
export const QUICK_TOTAL_S = 300;

export interface RunAllOptions {
  readonly quick: boolean;
  /** Where the JSON files are kept; nowhere if absent. */
  readonly folder?: string;
  readonly signal: AbortSignal;
  /** What to run: `planOfAll` unless told otherwise. */
  readonly plan?: ReturnType<typeof planOfAll>;
  /** The program of one bench, for tests. */
  readonly program?: string;
}

/**
 * Runs benches in turn, each in a process of its own: one that fails does not hide the others. Prints a summary.
 *
 * @returns whether every floor was kept and every bench came to its end.
 */
export async function runAll(options: RunAllOptions): Promise<boolean> {
  const { quick, signal, program = RUN } = options;
  const plan = options.plan ?? planOfAll(quick);
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'sluice-bench-all-'));
  mkdirSync(folder, { recursive: true });
  const outcomes: Outcome[] = [];
  try {
    for (const { name, only } of plan.runs) {
      if (signal.aborted) break;
      const file = join(folder, `${name}.json`);
      rmSync(file, { force: true });
      const args = [program, name, ...(quick ? ['--quick'] : []), ...(only === undefined ? [] : ['--only', only])];
      const beganMs = performance.now();
      const how = await runProcess([...args, '--json', file], quick ? LONGEST_S.quick : LONGEST_S.full, signal);
      const seconds = Math.round((performance.now() - beganMs) / 1000);
      outcomes.push({
        name: only === undefined ? name : `${name}, ${only}`,
        seconds,
        ...(existsSync(file) ? { report: JSON.parse(readFileSync(file, 'utf8')) as BenchReport } : { brokeOff: how }),
      });
      console.log();
    }
  } finally {
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  }
  const { lines, passed } = summaryLines(outcomes, plan.skipped, quick ? QUICK_TOTAL_S : undefined);
  console.log(lines.join('\n'));
  return passed && !signal.aborted;
}

/** How the process ended, in words. */
function runProcess(args: readonly string[], longestSeconds: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    let why: string | undefined;
    let kill: NodeJS.Timeout | undefined;
    const stop = (reason: string): void => {
      if (why !== undefined) return;
      why = reason;
      child.kill('SIGTERM');
      kill = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    };
    const limit = setTimeout(() => stop(`ended after ${longestSeconds} s`), longestSeconds * 1000);
    const onAbort = (): void => stop('interrupted');
    signal.addEventListener('abort', onAbort);
    const end = (how: string): void => {
      clearTimeout(limit);
      clearTimeout(kill);
      signal.removeEventListener('abort', onAbort);
      resolve(why ?? how);
    };
    child.once('error', (error) => end(error.message));
    child.once('close', (code, by) => end(by === null ? `exit code ${code}` : by));
  });
}
