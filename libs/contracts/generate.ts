// `pnpm gen` writes the code of every .proto; `pnpm gen --check` says whether what is checked in is current.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const generated = join(import.meta.dirname, 'src/gen');
const buf = (...args: string[]) => execFileSync('buf', args, { cwd: root, stdio: 'inherit' });
const listing = (dir: string) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => `${file.slice(dir.length)}\n${readFileSync(file, 'utf8')}`)
    .join('\n');

if (process.argv.includes('--check')) {
  const before = mkdtempSync(join(tmpdir(), 'sluice-gen-'));
  cpSync(generated, before, { recursive: true });
  buf('generate');
  const current = listing(before) === listing(generated);
  rmSync(generated, { recursive: true });
  cpSync(before, generated, { recursive: true });
  rmSync(before, { recursive: true });
  if (!current) {
    console.error('libs/contracts/src/gen is not what protos/ says: run `pnpm gen` and commit the result');
    process.exitCode = 1;
  }
} else {
  buf('generate');
}
