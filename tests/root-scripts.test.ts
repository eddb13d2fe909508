import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
/** Scripts without a help of their own (what is typed goes to vitest, or nothing can be typed), and sluice, which tests its own. */
const WITHOUT = new Set(['test', 'pngsuite', 'correctness', 'gen:dashboards', 'provision', 'new', 'sluice']);
const commands = Object.entries(scripts).flatMap(([name, line]) => {
  const [, file] = /^node (\S+)$/.exec(line) ?? [];
  return file === undefined || WITHOUT.has(name) ? [] : [{ name, file }];
});

/** Without NATS_URL and with nothing typed but the option: a script that begins to work would not end. */
function run(file: string, option: string) {
  return spawnSync(process.execPath, [join(root, file), option], { cwd: root, encoding: 'utf8', timeout: 250_000 });
}

describe('every root script', () => {
  test.each(commands)('pnpm $name --help says how it is used', ({ name, file }) => {
    const { status, stdout } = run(file, '--help');
    expect(stdout).toMatch(new RegExp(`^usage: pnpm ${name}\\b`));
    expect(status).toBe(0);
  });

  test.each(commands)('pnpm $name refuses an unknown option in one line', ({ name, file }) => {
    const { status, stdout, stderr } = run(file, '--no-such-option');
    expect(stderr).toBe(`pnpm ${name}: Unknown option '--no-such-option'; see pnpm ${name} --help\n`);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });
});
