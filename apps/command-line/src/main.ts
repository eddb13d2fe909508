#!/usr/bin/env node
// `sluice COMMAND`: see docs/cli.md.
import { completeWords } from './completion.ts';
import { runCommandLine } from './program.ts';

const args = process.argv.slice(2);
if (args[0] === 'complete' && args[1] === '--') completeWords(args.slice(2));
else {
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  // A reader that has enough, such as `head`, is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await runCommandLine(args, interrupted.signal);
}
