import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runAll } from './run-all.ts';

let folder: string;
let printed: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-run-all-'));
  printed = '';
  vi.spyOn(console, 'log').mockImplementation((text = '') => void (printed += `${text}\n`));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** A program that behaves as its first word says, in the place of bench/run.ts. */
function program(): string {
  const file = join(folder, 'program.mjs');
  writeFileSync(
    file,
    `import { writeFileSync } from 'node:fs';
const [name, ...args] = process.argv.slice(2);
writeFileSync(${JSON.stringify(folder)} + '/ran-' + name, args.join(' '));
const row = (pass) => ({ id: name + '.rate', value: 1234.5, unit: 'jobs/s', ratio: 0.4, floor: 0.5, pass });
const write = (pass) => writeFileSync(args.at(-1), JSON.stringify({ bench: name, rows: [row(pass)] }));
if (name === 'good') write(true);
if (name === 'misses') { write(false); process.exit(1); }
if (name === 'throws') throw new Error('no reason');
if (name === 'hangs') setInterval(() => {}, 1000);
`,
  );
  return file;
}

const plan = (...names: string[]) => ({ runs: names.map((name) => ({ name })), skipped: [] });
const quiet = new AbortController().signal;

test('a bench that breaks off hides none of the others, and the whole fails', async () => {
  const json = join(folder, 'json');
  const options = { quick: true, folder: json, signal: quiet, program: program() };
  expect(await runAll({ ...options, plan: plan('throws', 'misses', 'good') })).toBe(false);
  expect(printed).toMatch(/^throws +\d+ s +BROKE OFF: exit code 1$/m);
  expect(printed).toMatch(/^misses +\d+ s +1 figures, 1 MISSED$/m);
  expect(printed).toMatch(/^good +\d+ s +1 figures$/m);
  expect(printed).toContain('missed: misses.rate 1,235 jobs/s, ratio 0.40, floor 0.5\n');
  expect(readdirSync(json)).toEqual(['good.json', 'misses.json']);
});

test('all that is kept passes, and what is left out is named with the reason', async () => {
  const skipped = [{ name: 'long', why: 'takes an hour' }];
  const options = { quick: true, signal: quiet, program: program() };
  expect(await runAll({ ...options, plan: { runs: [{ name: 'good', only: 'part' }], skipped } })).toBe(true);
  expect(printed).toContain('not part of this: long, which takes an hour\n');
  expect(printed).toMatch(/^good, part +\d+ s +1 figures$/m);
});

test('an old file of a bench that breaks off now counts as nothing', async () => {
  writeFileSync(join(folder, 'throws.json'), JSON.stringify({ bench: 'throws', rows: [] }));
  expect(await runAll({ quick: true, folder, signal: quiet, program: program(), plan: plan('throws') })).toBe(false);
});

test('an interruption ends the bench that runs, and no other one begins', async () => {
  const stopping = new AbortController();
  const options = { quick: true, signal: stopping.signal, program: program() };
  const running = runAll({ ...options, plan: plan('hangs', 'good') });
  while (!existsSync(join(folder, 'ran-hangs'))) await sleep(20);
  stopping.abort();
  expect(await running).toBe(false);
  expect(printed).toMatch(/^hangs +\d+ s +BROKE OFF: interrupted$/m);
  expect(existsSync(join(folder, 'ran-good'))).toBe(false);
});
