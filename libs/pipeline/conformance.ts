// Runs the conformance suite on several servers and prints a table: `node libs/pipeline/conformance.ts TARGET...`.
//
// A target is `memory`, `2.10` (the oldest supported server), `newest`, `cluster` (three of the newest, three copies of
// everything), or the path of a nats-server. One after the other: in parallel they would measure each other.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const root = join(import.meta.dirname, '../..');
const targets = process.argv.length > 2 ? process.argv.slice(2) : ['memory', '2.10', 'newest', 'cluster'];
const suites: Readonly<Record<string, string>> = { memory: 'memory', '2.10': 'nats-oldest' };
const folder = mkdtempSync(join(tmpdir(), 'sluice-conformance-'));
const rows: string[] = [];
let failed = 0;
for (const target of targets) {
  const isPath = target.includes('/');
  const output = join(folder, 'report.json');
  const suite = `libs/pipeline/tests/conformance/${suites[target] ?? 'nats-newest'}.test.ts`;
  const args = ['run', suite, '--reporter=json', `--outputFile=${output}`];
  const env = {
    ...process.env,
    ...(isPath ? { NATS_SERVER_BIN: target } : {}),
    ...(target === 'cluster' ? { SLUICE_CONFORMANCE: 'cluster' } : {}),
  };
  rmSync(output, { force: true });
  spawnSync(join(root, 'node_modules/.bin/vitest'), args, { cwd: root, env, stdio: 'ignore' });
  const report = JSON.parse(readFileSync(output, 'utf8')) as Report;
  const version = isPath ? spawnSync(target, ['--version'], { encoding: 'utf8' }).stdout.trim() : target;
  rows.push(`| ${version} | ${report.numPassedTests} | ${report.numFailedTests} |`);
  failed += report.numFailedTests;
  for (const { assertionResults } of report.testResults) {
    for (const { status, fullName } of assertionResults) {
      if (status === 'failed') console.log(`${version}: FAILED ${fullName}`);
    }
  }
}
rmSync(folder, { recursive: true, force: true });
console.log(['| server | rows passed | failed |', '| --- | ---: | ---: |', ...rows].join('\n'));
process.exitCode = failed === 0 ? 0 : 1;
