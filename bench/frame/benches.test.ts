import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { benches, benchLines, planOfAll } from './benches.ts';

const BENCH = join(import.meta.dirname, '..');
const run = (...args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(BENCH, 'run.ts'), ...args], {
    encoding: 'utf8',
  });
  return { status, stdout: stdout.trim(), stderr: stderr.trim() };
};

describe('the list of benches', () => {
  test('has every file of bench/, and no other', () => {
    const files = readdirSync(BENCH).filter((name) => /^(?!run\.|processes\.)[a-z-]+\.ts$/.test(name));
    expect(benches.map(({ name }) => `${name}.ts`).toSorted()).toEqual(files.toSorted());
    for (const { name } of benches) expect(existsSync(join(BENCH, `${name}.ts`))).toBe(true);
  });

  test('says in one line what each measures', () => {
    for (const line of benchLines()) expect(line).toMatch(/^[a-z]+ +\S.{10,95}$/);
  });

  test('all without --quick leaves nothing out', () => {
    expect(planOfAll(false)).toEqual({ runs: benches.map(({ name }) => ({ name })), skipped: [] });
  });

  test('all --quick says of what it leaves out why, and runs a part only where there is one', () => {
    const { runs, skipped } = planOfAll(true);
    expect([...runs, ...skipped].map(({ name }) => name).toSorted()).toEqual(
      benches.map(({ name }) => name).toSorted(),
    );
    for (const { why } of skipped) expect(why).toMatch(/^\w+s /);
    for (const { name, only } of runs) {
      if (only !== undefined) expect(benches.find((bench) => bench.name === name)?.parts).toContain(only);
    }
  });
});

describe('pnpm bench', () => {
  test('without a name lists all of them', () => {
    const { status, stdout } = run();
    expect({ status, lines: stdout.split('\n') }).toEqual({ status: 0, lines: benchLines() });
  });

  test.each([
    [['nothing'], 'no bench is named "nothing"'],
    [['../run'], 'no bench is named "../run"'],
    [['all', '--only', 'peers'], '--only takes one bench, not all'],
    [['backlog', '--only', 'peers'], 'backlog has no parts'],
  ])('%j is refused in one line', (args, why) => {
    expect(run(...args)).toEqual({ status: 2, stdout: '', stderr: `pnpm bench: ${why}; see pnpm bench --help` });
  });
});
