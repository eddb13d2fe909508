import { errorText, SeveralStacksError, StackRunsError, UsageError } from '@sluice/cli';
import { join } from 'node:path';
import { stripVTControlCharacters, styleText } from 'node:util';
import { DemoError } from '../demo.ts';
import { NatsUnavailableError } from '../nats/find.ts';
import { NatsStartError } from '../nats/server.ts';
import { onParentExit } from '../parent-exit.ts';
import { PortInUseError } from '../port-holder.ts';
import { NotReadyError } from '../stack.ts';
import { NotWritableError } from '../writable.ts';

/** Everything that runs leave behind: data, logs, run files. */
export const DATA = join(import.meta.dirname, '../../../.data');

/** Errors whose message is all that a person needs. Of any other the stack is printed, as it is a fault of the program. */
const EXPECTED = [
  DemoError,
  NatsStartError,
  NatsUnavailableError,
  NotReadyError,
  NotWritableError,
  PortInUseError,
  SeveralStacksError,
  StackRunsError,
  UsageError,
];

// After a hang-up the terminal is gone: a write to it must not end an orderly stop.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

/** Prints a line, without colours where the output is not a terminal. */
export function print(line: string): void {
  process.stdout.write(`${process.stdout.isTTY ? line : stripVTControlCharacters(line)}\n`);
}

/** Reads a number of the command line. */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw new UsageError(`${option} ${text}: a whole number from ${least} to ${most} is wanted`);
}

type Step = () => unknown;

/**
 * Runs a command that starts processes, and stops them in order however the command ends: by a signal, by the end of the
 * npx or pnpm that started it, by an error, or by itself when `endsBySelf` is set.
 *
 * `run` gets a signal that ends a start which still waits, and `stopWith`, which registers what a stop has to do; the
 * last one registered runs first.
 */
export async function runUntilStopped(
  command: string,
  run: (signal: AbortSignal, stopWith: (step: Step) => void) => Promise<void>,
  { endsBySelf = false }: { readonly endsBySelf?: boolean } = {},
): Promise<void> {
  const steps: Step[] = [];
  const controller = new AbortController();
  let exitCode: Promise<number> | undefined;
  const running = Promise.withResolvers<void>();
  const stop = (why: string, code: number): void => {
    exitCode ??= (async () => {
      if (why !== '') print(styleText('gray', `\n${why}: finishing what runs, then stopping`));
      controller.abort();
      await running.promise;
      for (const step of steps.toReversed()) await step();
      return code;
    })();
    void exitCode.then((value) => process.exit(value));
  };
  let requests = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      requests += 1;
      // pnpm sends a hang-up after a second Ctrl-C: only a third request cuts the drain short.
      if (requests > 2 && signal === 'SIGINT') process.exit(130);
      stop(signal, endsBySelf ? 130 : 0);
    });
  }
  if (process.platform === 'win32') {
    print(`${command} runs on Linux and macOS: its services end in order on signals, which Windows has not. Use WSL.`);
    process.exit(1);
  }
  onParentExit(() => stop('The parent process has ended', 0));
  try {
    await run(controller.signal, (step) => void steps.push(step));
    running.resolve();
    if (endsBySelf) stop('', 0);
  } catch (error) {
    running.resolve();
    if (!controller.signal.aborted) {
      printError(command, error);
      stop('', error instanceof UsageError ? 2 : 1);
    }
  }
}

/** Prints an error as one that the person can act on, or with its stack. */
export function printError(command: string, error: unknown): void {
  const expected = EXPECTED.some((kind) => error instanceof kind);
  const text = error instanceof Error && !expected ? (error.stack ?? error.message) : errorText(error);
  const line = text.startsWith(command) ? text : `${command}: ${text}`;
  process.stderr.write(`${process.stderr.isTTY ? styleText('red', line) : line}\n`);
}
