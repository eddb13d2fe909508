import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { progressLine } from '../src/output.ts';
import { commands } from '../src/commands/index.ts';
import { percentile, schedule } from '../src/commands/load.ts';
import { pdfNames } from '../src/commands/new-jobs.ts';
import { sluice } from './sluice.ts';

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

describe('help', () => {
  test('names every command', async () => {
    const { code, stdout } = await sluice(['--help']);
    expect(code).toBe(0);
    for (const { name } of commands) expect(stdout).toMatch(new RegExp(`^ {2}${name.split(' ')[0]}\\b`, 'm'));
  });

  test.each(commands.map(({ name }) => [name]))('of %s shows how it is used', async (name) => {
    const { code, stdout, stderr } = await sluice([...name.split(' '), '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^usage: sluice ${name}\\b`, 'i'));
  });

  test('every example is a command with options that there are', () => {
    for (const { name, examples, options = [], program } of commands) {
      expect(examples.length, name).toBeGreaterThan(0);
      for (const example of examples) {
        expect(example).toMatch(new RegExp(`^${name}\\b`));
        const used =
          program === undefined ? [...example.matchAll(/ --([\w-]+)/g)].map(([, option]) => option ?? '') : [];
        for (const option of used)
          expect(`${options.map(({ flags }) => flags).join(' ')} --json `, example).toContain(
            `--${option} `.replace(/ $/, ''),
          );
      }
    }
  });
});

describe('completion', () => {
  const complete = async (...words: string[]): Promise<string[]> =>
    (await sluice(['complete', '--', ...words])).stdout
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(':'))
      .map((line) => line.split('\t')[0] ?? '');

  test('knows commands, their words, options and choices', async () => {
    expect(await complete('')).toEqual(expect.arrayContaining(['image', 'job', 'dlq', 'doctor']));
    expect(await complete('job', '')).toEqual(['get', 'list', 'watch', 'cancel', 'rerun', 'why']);
    expect(await complete('image', '--qual')).toEqual(['--quality']);
    expect(await complete('image', '--quality', '')).toEqual(['auto', 'lossless', 'high', 'low']);
    expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish']);
  });

  test('leaves names of files to the shell where a command takes them', async () => {
    const last = async (...words: string[]) =>
      (await sluice(['complete', '--', ...words])).stdout.trim().split('\n').at(-1);
    for (const words of [
      ['image', 'sam'],
      ['image', 'a.png', ''],
      ['image', '--out', ''],
      ['job', 'get', '--out', 'x'],
    ])
      expect([words, await last(...words)]).toEqual([words, ':0']);
    for (const words of [
      ['streams', ''],
      ['image', '--notify', ''],
      ['image', '--quality', 'z'],
      ['job', 'get', 'x'],
    ])
      expect([words, await last(...words)]).toEqual([words, ':4']);
  });

  test('works in bash, where the script is read twice and nothing that was typed runs', async () => {
    const { stdout: script } = await sluice(['completion', 'bash']);
    const folder = mkdtempSync(join(tmpdir(), 'sluice-completion-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const typed = (line: string) => `set -e
${script}
${script}
COMP_LINE=${quoted(line)}; COMP_WORDS=(${line.replaceAll('=', ' = ').split(' ').map(quoted).join(' ')})
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_sluice || true
printf '%s\\n' "\${COMPREPLY[@]}"`;
    const replies = (line: string) =>
      execFileSync('bash', ['-c', typed(line)], { encoding: 'utf8', cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
        .trim()
        .split('\n');
    expect(replies('sluice job ')).toEqual(['get', 'list', 'watch', 'cancel', 'rerun', 'why']);
    expect(replies('sluice str')).toEqual(['streams']);
    expect(replies('sluice image --quality lo')).toEqual(['lossless', 'low']);
    expect(replies('sluice image --quality=lo')).toEqual(['lossless', 'low']);
    expect(replies('sluice image $(touch${IFS}hacked) ')).toEqual(['']);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each(['zsh', 'fish'])('prints a script for %s', async (shell) => {
    const { code, stdout } = await sluice(['completion', shell]);
    expect(code).toBe(0);
    expect(stdout).toContain('sluice');
  });
});

test('no PDF takes the place of another', () => {
  expect(pdfNames(['a/scan.png', 'photo.jpg'])).toEqual(['scan.pdf', 'photo.pdf']);
  expect(pdfNames(['scan.png', 'scan.jpg', 'b'])).toEqual(['scan.png.pdf', 'scan.jpg.pdf', 'b.pdf']);
  expect(() => pdfNames(['a/scan.png', 'b/scan.png'])).toThrow(
    'a/scan.png and b/scan.png would both be saved as scan.png.pdf: convert them apart',
  );
});

test('a bar shows the share, the rate and the time left', () => {
  const line = progressLine('sending', { done: 2_500_000, total: 10_000_000, elapsedMs: 1_000, unit: 'bytes' });
  expect(line).toBe('sending ██████░░░░░░░░░░░░░░░░░░  25 %  2.5 MB of 10.0 MB, 2.5 MB/s, 3.0 s left');
  expect(progressLine('working', { done: 0, total: 0, elapsedMs: 0, unit: 'count' })).toContain('100 %');
});

test('a load rises to its rate and stays there', () => {
  expect(schedule(2, 2, 0)).toEqual([0, 500, 1_000, 1_500]);
  const ramped = schedule(10, 4, 2);
  expect(ramped.filter((ms) => ms < 2_000)).toHaveLength(10);
  expect(ramped.filter((ms) => ms >= 2_000)).toHaveLength(20);
  expect(schedule(0, 5, 0)).toEqual([]);
  expect([percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99), percentile([], 0.5)]).toEqual([2, 4, 0]);
});
