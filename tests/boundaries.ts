// `pnpm boundaries`: the rules of .dependency-cruiser.cjs hold, and the tool has seen the modules.
import { parseCommand } from '@sluice/cli';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * Fewer modules than this and the tool saw nothing of TypeScript: without its own TypeScript API it cruises 0 modules
 * and reports success.
 */
const LEAST_MODULES = 150;

interface Report {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

parseCommand({
  name: 'pnpm boundaries',
  usage: 'usage: pnpm boundaries   checks which way imports run, by the rules of .dependency-cruiser.cjs',
  options: {},
});
const args = [
  'libs',
  'services',
  'apps',
  'dev',
  'tests',
  'bench',
  'o11y',
  '--config',
  '.dependency-cruiser.cjs',
  '--output-type',
  'json',
];
const { summary } = JSON.parse(
  execFileSync('depcruise', args, {
    cwd: join(import.meta.dirname, '..'),
    maxBuffer: 256 * 1024 * 1024,
    encoding: 'utf8',
  }),
) as Report;

for (const { from, to, rule } of summary.violations) console.error(`${rule.name}: ${from} -> ${to}`);
if (summary.totalCruised < LEAST_MODULES) {
  console.error(`only ${summary.totalCruised} modules were looked at, expected at least ${LEAST_MODULES}`);
}
if (summary.violations.length > 0 || summary.totalCruised < LEAST_MODULES) process.exitCode = 1;
else console.log(`${summary.totalCruised} modules, every import rule holds`);
