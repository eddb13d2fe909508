import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** Runs a command in a process of its own, as it ends the process. */
function run(...args: readonly string[]) {
  const source = `
    import { parseCommand } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))};
    const { values, positionals } = parseCommand({
      name: 'pnpm probe', usage: 'usage: pnpm probe [--count N]', options: { count: { type: 'string' } }, maxPositionals: 2,
    });
    console.log(JSON.stringify([values, positionals]));
  `;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', source, '--', 'probe', ...args],
    {
      encoding: 'utf8',
    },
  );
  return { status, stdout: stdout.trim(), stderr: stderr.trim() };
}

test('options and words are read', () => {
  expect(run('--count', '3', 'a').stdout).toBe('[{"count":"3"},["a"]]');
});

test('a negative number is a word', () => {
  expect(run('give', '-5').stdout).toBe('[{},["give","-5"]]');
});

test('--help prints the usage and ends with 0', () => {
  expect(run('--help')).toEqual({ status: 0, stdout: 'usage: pnpm probe [--count N]', stderr: '' });
});

test.each([
  ['an unknown option', ['--colour'], "pnpm probe: Unknown option '--colour'; see pnpm probe --help"],
  [
    'an option without its value',
    ['--count'],
    "pnpm probe: Option '--count <value>' argument missing; see pnpm probe --help",
  ],
  ['a surplus word', ['a', 'b', 'c'], 'pnpm probe: "c" is one word too many; see pnpm probe --help'],
])('%s is refused in one line with 2', (_, args, stderr) => {
  expect(run(...args)).toEqual({ status: 2, stdout: '', stderr });
});
