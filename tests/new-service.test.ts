// `pnpm new service` on a copy of the repository: what it makes passes the checks and its own tests, and an entry that
// is taken out again is named by the check that misses it.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
/** A kind that the repository does not have, one made by this command neither. */
const NAME = ['sms', 'push', 'fax'].find((name) => !existsSync(join(ROOT, 'services', name))) ?? 'letter';
let copy: string;

/** Runs a command in the copy; its output and whether it ended well. */
function run(command: string, ...args: string[]): { ok: boolean; output: string } {
  // Without colours, which would part the words that are looked for.
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: copy, encoding: 'utf8', env });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}

const checkNames = (): readonly string[] =>
  [...run('npx', 'pnpm', 'check', '--help').output.matchAll(/^ {2}([a-z-]+) {2,}/gm)].map(([, name]) => name ?? '');

/** TypeScript that the command made or changed. */
function changedSources(): string[] {
  const found = run('find', '.', '-name', '*.ts', '-not', '-path', '*/node_modules/*');
  return found.output.split('\n').filter((file) => {
    const original = join(ROOT, file);
    return file !== '' && !(existsSync(original) && readFileSync(original).equals(readFileSync(join(copy, file))));
  });
}

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'sluice-new-'));
  const files = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  for (const file of files.stdout.split('\0').filter((name) => name !== '')) {
    // The chart has links to folders, which stay links.
    cpSync(join(ROOT, file), join(copy, file), { force: true, recursive: true, verbatimSymlinks: true });
  }
  expect(run('npx', 'pnpm', 'install', '--frozen-lockfile', '--prefer-offline').ok).toBe(true);
  const made = run('npx', 'pnpm', 'new', 'service', NAME);
  expect(made.ok, made.output).toBe(true);
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

describe('a service made by one command', { timeout: 600_000 }, () => {
  test('passes every check', () => {
    const checks = run('npx', 'pnpm', 'check', ...checkNames().filter((name) => name !== 'lint'));
    expect(checks.ok, checks.output).toBe(true);
    // What was not changed is linted here already.
    const lint = run('npx', 'oxlint', '--type-aware', '--deny-warnings', ...changedSources());
    expect(lint.ok, lint.output).toBe(true);
  });

  test('passes its own tests, and those of what it was entered in', () => {
    const { ok, output } = run(
      'npx',
      'pnpm',
      'test',
      `services/${NAME}`,
      'tests/job-kinds.test.ts',
      'tests/workspace.test.ts',
      'tests/nats-permissions.test.ts',
      'tests/exposure.test.ts',
      'tests/docs/retention.test.ts',
      'tests/docs/configuration.test.ts',
      'o11y',
      'libs/contracts',
    );
    expect(ok, output).toBe(true);
  });

  test('cannot be made twice', () => {
    const { ok, output } = run('npx', 'pnpm', 'new', 'service', NAME);
    expect(ok).toBe(false);
    expect(output).toContain(`${NAME} is taken`);
  });
});

describe('without one of its entries', () => {
  interface Entry {
    readonly file: string;
    readonly pattern: RegExp;
  }
  /** What a command says of the copy while files lack a text each. */
  function without(entries: readonly Entry[], command: readonly [string, ...string[]]): string {
    const whole = entries.map(({ file, pattern }) => {
      const path = join(copy, file);
      const text = readFileSync(path, 'utf8');
      expect(text).toMatch(pattern);
      writeFileSync(path, text.replace(pattern, ''));
      return { path, text };
    });
    try {
      const { ok, output } = run(...command);
      expect(ok, `an entry is missing and nothing says so:\n${output}`).toBe(false);
      return output;
    } finally {
      for (const { path, text } of whole) writeFileSync(path, text);
    }
  }

  /** One package of what `pnpm typecheck` compiles. */
  const compile = (folder: string) => ['npx', 'tsc', '-p', folder, '--noEmit'] as const;

  test('of the registry, the compiler names the kind', () => {
    const entry = {
      file: 'libs/contracts/src/job-kinds.ts',
      pattern: new RegExp(`\\n  ${NAME}: \\{[\\s\\S]*?\\n  \\},`),
    };
    expect(without([entry], compile('libs/contracts'))).toContain(`Property '${NAME}'`);
  });

  test('of the rules of the gateway, the compiler names it', () => {
    const entry = {
      file: 'services/gateway/src/jobs/kinds/index.ts',
      pattern: new RegExp(`\\n  ${NAME}: ${NAME}Kind,`),
    };
    expect(without([entry], compile('services/gateway'))).toContain(`'${NAME}'`);
  });

  // Each is a test of its own there, so one run tells of all three.
  test('of Compose, the scrapes or the NATS users, the comparison with the registry names each', () => {
    const output = without(
      [
        { file: 'docker-compose.yml', pattern: new RegExp(`\\n  ${NAME}:\\n[\\s\\S]*?\\n\\n`) },
        { file: 'o11y/prometheus/prometheus.yml', pattern: new RegExp(`\\n  - job_name: ${NAME}\\n.*\\n`) },
        {
          file: 'deploy/nats/users.conf',
          pattern: new RegExp(`\\n.*\\{ nkey: \\$NATS_${NAME.toUpperCase()}_NKEY,.*\\n`),
        },
      ],
      ['npx', 'pnpm', 'test', 'tests/job-kinds.test.ts'],
    );
    for (const failure of [
      `docker-compose.yml: services.${NAME}`,
      `the kind ${NAME} > is scraped by o11y/prometheus/prometheus.yml`,
      `the kind ${NAME} > has a NATS user`,
    ]) {
      expect(output).toContain(failure);
    }
  });
});
