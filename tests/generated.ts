// `pnpm gen` writes every file that is generated from another one; `--check` says which of them are not current.
import { parseCommand } from '@sluice/cli';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** What writes them. Each takes `--check`, and says then what to do. The later ones may read what the earlier ones write. */
const generators = [
  'libs/contracts/generate.ts',
  'libs/messaging/generate.ts',
  'libs/client/generate.ts',
  'apps/command-line/generate.ts',
];

const { values } = parseCommand({
  name: 'pnpm gen',
  usage: `usage: pnpm gen [--check]   writes the generated files of ${generators.join(', ')}

  --check   writes nothing, and fails when a file is not current`,
  options: { check: { type: 'boolean', default: false } },
});
for (const generator of generators) {
  const args = [generator, ...(values.check ? ['--check'] : [])];
  const { status } = spawnSync(process.execPath, args, { cwd: join(import.meta.dirname, '..'), stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
