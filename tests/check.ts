// `pnpm check [NAME ...]`: everything that is checked without running the system, closed by one plain line that counts.
import { parseCommand } from '@sluice/cli';
import { spawn } from 'node:child_process';
import { join } from 'node:path';

interface Check {
  readonly name: string;
  readonly says: string;
  readonly command: readonly [string, ...string[]];
}

const checks: readonly Check[] = [
  { name: 'format', says: 'every file is formatted (`pnpm fmt`)', command: ['oxfmt', '--check'] },
  { name: 'lint', says: 'no lint finding, types included', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'types', says: 'TypeScript has no complaint', command: ['tsc', '-p', '.', '--noEmit'] },
  { name: 'types-console', says: 'nor of the console', command: ['tsc', '-p', 'apps/console', '--noEmit'] },
  { name: 'boundaries', says: 'imports run one way', command: ['node', 'tests/boundaries.ts'] },
  { name: 'dead-code', says: 'no unused file, export or dependency', command: ['knip', '--no-config-hints'] },
  { name: 'proto-format', says: 'the .proto files are formatted', command: ['buf', 'format', '--diff', '--exit-code'] },
  { name: 'proto-lint', says: 'the .proto files follow the rules', command: ['buf', 'lint'] },
  {
    name: 'proto-breaking',
    says: 'no released message has changed its meaning',
    command: ['buf', 'breaking', '--against', 'protos/released.binpb'],
  },
  {
    name: 'generated',
    says: 'the generated code is current (`pnpm gen`)',
    command: ['node', 'tests/generated.ts', '--check'],
  },
];

const list = checks.map(({ name, says }) => `  ${name.padEnd(15)} ${says}`).join('\n');
const { positionals: wanted } = parseCommand({
  name: 'pnpm check',
  usage: `usage: pnpm check [NAME ...]   what is checked without running the system; all of it unless named\n\n${list}`,
  options: {},
  maxPositionals: checks.length,
});
const unknown = wanted.find((name) => checks.every((check) => check.name !== name));
if (unknown !== undefined) {
  console.error(`pnpm check: no check is named "${unknown}"; see pnpm check --help`);
  process.exit(2);
}
let passed = 0;
let failed = 0;
for (const check of checks.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const { code, output } = await run(check.command);
  if (code === 0) {
    passed += 1;
    console.log(`ok    ${check.name.padEnd(15)} ${check.says}`);
  } else {
    failed += 1;
    console.log(`FAIL  ${check.name.padEnd(15)} ${check.says}\n${output}`);
  }
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

function run([command, ...args]: Check['command']): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, args, { cwd: join(import.meta.dirname, '..'), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const add = (chunk: Buffer) => (output += chunk.toString());
  child.stdout.on('data', add);
  child.stderr.on('data', add);
  const ended = Promise.withResolvers<{ code: number | null; output: string }>();
  child.once('error', (error) => ended.resolve({ code: 1, output: error.message }));
  child.once('close', (code) => ended.resolve({ code, output }));
  return ended.promise;
}
