import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import config from '../vitest.config.ts';

const ROOT = join(import.meta.dirname, '..');
const { testTimeout = 0, expect: { poll } = {} } = (config as { test: TestSettings }).test;

interface TestSettings {
  readonly testTimeout?: number;
  readonly expect?: { readonly poll?: { readonly timeout?: number } };
}

/** A limit of one test or hook, with what it is written in: its own line, the options of a test, or those of a poll. */
const LIMITS: readonly { readonly pattern: RegExp; readonly least: number }[] = [
  { pattern: /^ *\}, (?<ms>[\d_]+)\);$/gm, least: testTimeout },
  { pattern: /\{ timeout: (?<ms>[\d_]+) \},\s+(?:async\b|\()/g, least: testTimeout },
  { pattern: /\{ timeout: (?<ms>[\d_]+)[^}]*\}[,\s]*\)\s*\.(?:not|to)/g, least: poll?.timeout ?? 0 },
];

/** Limits that end what a quick machine does in a fraction of them: a machine at a third of its speed fails by them. */
function shortLimits(text: string): readonly string[] {
  return LIMITS.flatMap(({ pattern, least }) =>
    [...text.matchAll(pattern)]
      .filter(({ groups }) => Number(groups!['ms']!.replaceAll('_', '')) < least)
      .map(([written]) => written),
  );
}

test('a limit that is shorter than the one for all tests is found', () => {
  expect(shortLimits('beforeAll(() => {\n}, 120_000);')).toHaveLength(1);
  expect(shortLimits("describe('a', () => {\n  test('b', () => {\n  }, 120_000);\n});")).toHaveLength(1);
  expect(shortLimits("test('a', { timeout: 60_000 }, async () => {});")).toHaveLength(1);
  expect(shortLimits("test(\n  'a',\n  { timeout: 60_000 },\n  async () => {},\n);")).toHaveLength(1);
  expect(shortLimits('await expect.poll(f, { timeout: 5_000 }).toBe(1);')).toHaveLength(1);
  expect(shortLimits('await expect.poll(f, { timeout: 60_000 }).toBe(1);\n}, 900_000);')).toEqual([]);
});

test('no test or hook has a limit of its own that is shorter than the one for all', () => {
  const files = execFileSync('git', ['ls-files', '*.test.ts'], { cwd: ROOT, encoding: 'utf8' }).trim().split('\n');
  const short = files.flatMap((file) =>
    file === 'tests/timeouts.test.ts'
      ? []
      : shortLimits(readFileSync(join(ROOT, file), 'utf8')).map((limit) => `${file}: ${limit.replaceAll(/\s+/g, ' ')}`),
  );
  expect(short).toEqual([]);
});
