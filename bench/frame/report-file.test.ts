import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { merged, writeReport } from './report-file.ts';
import type { BenchReport } from './result.ts';

const row = (id: string, value: number) => ({ id, value, unit: 'x', pass: true });
const about = { bench: 'gateway', quick: false, date: '2026-11-29', machine: 'this one' };
const idle: BenchReport = { ...about, seconds: 10, otherWork: 0.1, rows: [row('idle', 1)], notes: ['a', 'b'] };
const pace: BenchReport = {
  ...about,
  seconds: 20,
  otherWork: 0,
  rows: [row('idle', 3), row('pace', 2)],
  notes: ['b', 'c'],
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-report-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const read = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as BenchReport;

test('a part is added to those of the same day, and takes the place of the rows that it has measured again', () => {
  expect(merged(idle, pace)).toEqual({
    ...about,
    seconds: 30,
    otherWork: 0.1,
    rows: [row('idle', 3), row('pace', 2)],
    notes: ['a', 'b', 'c'],
  });
});

test('parts of another day, machine or form are not mixed', () => {
  expect(merged({ ...idle, date: '2026-11-28' }, pace)).toEqual(pace);
  expect(merged({ ...idle, machine: 'another one' }, pace)).toEqual(pace);
  expect(merged({ ...idle, quick: true }, pace)).toEqual(pace);
});

test('a path is a file; a folder gets a file of the name of the bench', () => {
  writeReport(idle, join(folder, 'one.json'), false);
  writeReport(idle, folder, false);
  writeReport(pace, `${folder}/new/`, true);
  expect(readdirSync(folder).toSorted()).toEqual(['gateway.json', 'new', 'one.json']);
  writeReport(pace, folder, true);
  expect(read('gateway.json').rows).toHaveLength(2);
  writeReport(idle, folder, false);
  expect(read('gateway.json').rows).toHaveLength(1);
});
