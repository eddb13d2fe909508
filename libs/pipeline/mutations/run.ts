// Breaks one rule of the engine at a time and expects a test to notice: `node libs/pipeline/mutations/run.ts [FILTER]`.
//
// Each mutation replaces one piece of text in a copy of the package, and the quick suites (memory source, models, rules)
// run against the copy. A survivor is a rule no quick test holds; those that are known carry the reason.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mutations } from './list.ts';
import type { Mutation } from './mutation.ts';

const here = join(import.meta.dirname, '..');
const root = join(here, '../..');
const SUITES = [
  'memory.test',
  'model.test',
  'rules.test',
  'settlement.test',
  'limits.test',
  'assignment.test',
  'pause.test',
];
/** By folder: the suites that know of its rules. */
const SUITES_OF: Readonly<Record<string, readonly string[]>> = {
  pull: [...SUITES, 'source-health.test'],
  partitions: ['memory.test', 'partitions/model.test', 'assignment.test', 'membership.test'],
  limits: ['memory.test', 'limits.test'],
  nats: [...SUITES, 'readable-headers.test'],
  otel: ['readable-headers.test'],
  prometheus: ['series.test'],
};
const AT_ONCE = 2;

/** Runs the quick suites against a mutated copy; true when one of them failed. */
async function isNoticed({ file, from, to }: Mutation): Promise<boolean> {
  const copy = mkdtempSync(join(tmpdir(), 'sluice-mutant-'));
  try {
    cpSync(join(here, 'src'), join(copy, 'src'), { recursive: true });
    cpSync(join(here, 'tests'), join(copy, 'tests'), { recursive: true });
    symlinkSync(join(here, 'node_modules'), join(copy, 'node_modules'));
    symlinkSync(join(root, 'node_modules'), join(copy, 'tests/node_modules'));
    writeFileSync(join(copy, 'package.json'), '{"type":"module"}');
    writeFileSync(
      join(copy, 'vitest.config.mjs'),
      'export default { test: { testTimeout: 120_000, hookTimeout: 120_000, maxWorkers: 1, bail: 1, dangerouslyIgnoreUnhandledErrors: true, expect: { poll: { timeout: 10_000 } } } };',
    );
    const path = join(copy, 'src', `${file}.ts`);
    const source = readFileSync(path, 'utf8');
    if (!source.includes(from)) throw new Error(`${file}.ts has no longer: ${from}`);
    writeFileSync(
      path,
      source.replace(from, () => to),
    );
    const suites = SUITES_OF[file.split('/')[0] ?? ''] ?? SUITES;
    const child = spawn(join(root, 'node_modules/.bin/vitest'), ['run', '--root', copy, ...suites], {
      stdio: 'ignore',
    });
    // A mutant may hang: that is noticed too.
    const timer = setTimeout(() => child.kill('SIGKILL'), 300_000);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    clearTimeout(timer);
    return code !== 0;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

const filter = process.argv[2] ?? '';
const queue = mutations.filter(({ file, rule }) => `${file}: ${rule}`.includes(filter));
if (!existsSync(join(here, 'tests/model.test.ts'))) throw new Error('run from a checkout');
// Suites that fail by themselves, on a machine that is too busy, would notice everything.
const nothing: Mutation = { file: 'index', rule: 'nothing is broken', from: '', to: '' };
if (await isNoticed(nothing)) throw new Error('the suites fail, or take too long, with nothing broken');
let survivors = 0;
let noticed = 0;
async function lane(): Promise<void> {
  for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
    const seen = await isNoticed(mutation);
    const name = `${mutation.file}: ${mutation.rule}`;
    if (seen) {
      noticed++;
      console.log(`noticed   ${name}`);
    } else if (mutation.survives === undefined) {
      survivors++;
      console.log(`SURVIVES  ${name}`);
    } else console.log(`survives  ${name} (${mutation.survives})`);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, lane));
console.log(`${noticed} noticed, ${survivors} unexplained survivors`);
process.exitCode = survivors === 0 ? 0 : 1;
