// `pnpm new service` on a copy of the repository: what it makes passes the checks and its own tests, and an entry that
// is taken out again is named by the check that misses it.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
let copy: string;

/** Runs a command in the copy; its output and whether it ended well. */
function run(command: string, ...args: string[]): { ok: boolean; output: string } {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: copy, encoding: 'utf8' });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'sluice-new-'));
  const files = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  for (const file of files.stdout.split('\0').filter((name) => name !== '')) {
    cpSync(join(ROOT, file), join(copy, file), { force: true });
  }
  expect(run('npx', 'pnpm', 'install', '--frozen-lockfile', '--prefer-offline').ok).toBe(true);
  const made = run('npx', 'pnpm', 'new', 'service', 'sms');
  expect(made.ok, made.output).toBe(true);
}, 300_000);
afterAll(() => rmSync(copy, { recursive: true, force: true }));

describe('a service made by one command', { timeout: 300_000 }, () => {
  test('passes every check', () => {
    const { ok, output } = run('npx', 'pnpm', 'check');
    expect(ok, output).toBe(true);
  });

  test('passes its own tests, and those of what it was entered in', () => {
    const { ok, output } = run(
      'npx',
      'pnpm',
      'test',
      'services/sms',
      'tests/job-kinds.test.ts',
      'tests/workspace.test.ts',
      'tests/docs/configuration.test.ts',
      'o11y',
      'libs/contracts',
    );
    expect(ok, output).toBe(true);
  });

  test('cannot be made twice', () => {
    const { ok, output } = run('npx', 'pnpm', 'new', 'service', 'sms');
    expect(ok).toBe(false);
    expect(output).toContain('sms is taken');
  });
});

describe('without one of its entries', { timeout: 120_000 }, () => {
  /** What a command says of the copy while a file lacks a text. */
  function without(file: string, pattern: RegExp, command: readonly [string, ...string[]]): string {
    const path = join(copy, file);
    const text = readFileSync(path, 'utf8');
    expect(text).toMatch(pattern);
    writeFileSync(path, text.replace(pattern, ''));
    try {
      const { ok, output } = run(...command);
      expect(ok, `${file} lacks its entry and nothing says so`).toBe(false);
      return output;
    } finally {
      writeFileSync(path, text);
    }
  }

  test('of the registry, the compiler names the kind', () => {
    const types = ['npx', 'pnpm', 'typecheck'] as const;
    expect(without('libs/contracts/src/job-kinds.ts', /\n  sms: \{[\s\S]*?\n  \},/, types)).toContain("Property 'sms'");
  });

  test('of the rules of the gateway, the compiler names it', () => {
    const types = ['npx', 'pnpm', 'typecheck'] as const;
    expect(without('services/gateway/src/jobs/kinds/index.ts', /\n  sms: smsKind,/, types)).toContain("'sms'");
  });

  test.each([
    ['docker-compose.yml', /\n  sms:\n[\s\S]*?\n\n/, 'services.sms'],
    ['o11y/prometheus/prometheus.yml', /\n  - job_name: sms\n.*\n/, 'sms'],
    ['deploy/nats/users.conf', /\n.*\{ user: sms,.*\n/, 'sms'],
  ])('of %s, the comparison with the registry names it', (file, pattern, named) => {
    expect(without(file, pattern, ['npx', 'pnpm', 'test', 'tests/job-kinds.test.ts'])).toContain(named);
  });
});
