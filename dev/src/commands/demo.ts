// `pnpm demo`: one mail and one photo through the whole system, shown and checked.
import { openRunFile, parseCommand } from '@sluice/cli';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { demo } from '../demo.ts';
import { endLeftovers } from '../leftovers.ts';
import { createLogView } from '../log-view.ts';
import { DATA, print, runUntilStopped } from './terminal.ts';

const { values } = parseCommand({
  name: 'pnpm demo',
  usage: `usage: pnpm demo [options]   one mail and one photo through the whole system, on free ports; then it stops

  --verbose   show the log of the services
  --help      this`,
  options: { verbose: { type: 'boolean', default: false } },
});

await runUntilStopped(
  'pnpm demo',
  async (signal, stopWith) => {
    const { file, left } = openRunFile({ command: 'pnpm demo' });
    stopWith(() => file.remove());
    await endLeftovers(left, print);
    // Every line of a quiet run is kept, so that a failure can be looked into afterwards.
    const logPath = join(DATA, 'demo.log');
    const log = createWriteStream(logPath);
    const view = createLogView(print);
    try {
      await demo({
        print,
        signal,
        onProcesses: (pids, urls) => file.write({ pids, urls, ready: false }),
        onLine: (source, line) => {
          log.write(`${source} ${line}\n`);
          if (values.verbose) view(source, line);
        },
      });
    } catch (error) {
      print(styleText('gray', `The log of the services is in ${logPath}`));
      throw error;
    }
  },
  { endsBySelf: true },
);
