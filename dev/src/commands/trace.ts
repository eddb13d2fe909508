// `pnpm trace JOB`: the trace of a job of the running system, as a tree.
import { findRunningStack, parseCommand, typedName, UsageError } from '@sluice/cli';
import { printTrace } from '../otlp/print-trace.ts';
import { print, printError, wholeNumber } from './terminal.ts';

const USAGE = `usage: pnpm trace JOB [--port-offset N]   the trace of a job of the running system, as a tree

  JOB               a job id (job_...) or a trace id of 32 hex digits
  --port-offset N   which system, when several run
  --help            this`;

const { values, positionals } = parseCommand({
  name: 'pnpm trace',
  usage: USAGE,
  options: { 'port-offset': { type: 'string' } },
  maxPositionals: 1,
});

try {
  const [id] = positionals;
  if (id === undefined) throw new UsageError('which job? Name one, with the id from the answer of POST');
  const offset = values['port-offset'];
  const stack = findRunningStack(offset === undefined ? undefined : wholeNumber('--port-offset', offset, 0, 15_000));
  if (stack?.urls === undefined) {
    const which = offset === undefined ? '' : ` on --port-offset ${offset}`;
    throw new UsageError(`no system runs${which}: start one with \`npx pnpm dev\`, or look at its Jaeger for Compose`);
  }
  const { otlp, gateway } = stack.urls;
  print(await printTrace(id, { receiverUrl: otlp, gatewayUrl: gateway }));
} catch (error) {
  printError(typedName('pnpm trace'), error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
