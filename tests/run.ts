// `pnpm test [FILTER ...]`: every suite on real parts, closed by one plain line that counts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numFailedTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
const reportFile = join(folder, 'report.json');
const args = ['run', '--reporter=default', '--reporter=json', `--outputFile=${reportFile}`, ...process.argv.slice(2)];
// Some hundred processes load the same modules: compiled once, each starts with half the CPU.
const env = { NODE_COMPILE_CACHE: join(root, '.data/compile-cache'), ...process.env };
const { status } = spawnSync('vitest', args, { cwd: root, stdio: 'inherit', env });

let report: Report;
try {
  report = JSON.parse(readFileSync(reportFile, 'utf8')) as Report;
} catch {
  console.error('the test runner ended without a report');
  console.log('0 passed, 1 failed');
  process.exit(1);
} finally {
  rmSync(folder, { recursive: true });
}

// A file that cannot even be loaded has no tests to fail: it counts as one.
const unloadable = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
const skipped = report.testResults.flatMap((file) =>
  file.assertionResults
    .filter((test) => test.status === 'skipped' || test.status === 'pending' || test.status === 'todo')
    .map((test) => `${relative(root, file.name)}: ${test.fullName}`),
);
if (skipped.length > 0) console.log(`\nskipped:\n${skipped.map((line) => `  ${line}`).join('\n')}`);
const failed = report.numFailedTests + unloadable.length;
const parts = [`${report.numPassedTests} passed`, `${failed} failed`];
if (skipped.length > 0) parts.push(`${skipped.length} skipped`);
console.log(`\n${parts.join(', ')}`);
process.exitCode = failed > 0 || report.numPassedTests === 0 ? 1 : (status ?? 1);
