import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
/** A command as a person types it. Never a stack: what went wrong is a sentence. */
function run(
  command: 'keys' | 'credits' | 'replay' | 'templates',
  args: readonly string[],
  url = rig.nats.url,
): Promise<Ended> {
  const file = new URL(`../src/cli/${command}.ts`, import.meta.url).pathname;
  const env = { ...process.env, NATS_URL: url };
  return new Promise((resolve) => {
    execFile(process.execPath, [file, ...args], { env, timeout: 250_000 }, (error, stdout, stderr) => {
      expect(stderr).not.toContain('    at ');
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}
const lastAudit = async (action: string) =>
  (await rig.bus.jsm.streams.getMessage('AUDIT', { last_by_subj: `audit.${action}` }))?.json();

describe('a command', () => {
  test('says that there is no broker, instead of waiting for one', async () => {
    for (const [command, args] of [
      ['keys', ['list']],
      ['credits', ['balance', 'acme']],
      ['replay', ['--stream', 'EVENTS', '--from', '1']],
    ] as const) {
      const { code, stderr } = await run(command, args, 'nats://127.0.0.1:1');
      expect({ command, code }).toEqual({ command, code: 1 });
      expect(stderr).toMatch(
        /^pnpm \w+: no connection to NATS at nats:\/\/127\.0\.0\.1:1: .* The address comes from NATS_URL\.\n$/,
      );
    }
  });

  test('refuses in one line what it does not know, before it connects to anything', async () => {
    for (const [command, args] of [
      ['keys', []],
      ['keys', ['destroy', 'acme']],
      ['credits', ['grant', 'acme', '1.5']],
      ['credits', ['empty', 'acme']],
      ['templates', ['list', 'a.b']],
      ['templates', ['put', 'acme', 'receipt']],
      ['templates', ['put', 'acme', 'welcome', 'x.json']],
      ['replay', []],
      ['replay', ['--backwards']],
      ['replay', ['--stream', 'EVENTS', '--from', 'soon']],
      ['replay', ['--stream', 'EVENTS', '--from', '1', '--to', 'x']],
      ['replay', ['--stream', 'EVENTS', '--from', '1', '--rate', '0']],
    ] as const) {
      const { code, stdout, stderr } = await run(command, args, 'nats://127.0.0.1:1');
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' });
      expect(stderr).toMatch(/^pnpm \w+: .+; see pnpm \w+ --help\n$/);
    }
  });
});

describe('keys', () => {
  test('are made, listed and taken back, each act written down and the key nowhere', async () => {
    const made = await run('keys', ['create', 'acme', 'jobs:read']);
    const [key = ''] = made.stdout.split('\n');
    expect(key).toMatch(/^sk_[\w-]{43}$/);
    expect(await lastAudit('key_create')).toMatchObject({ target: 'acme', detail: { scopes: ['jobs:read'] } });
    expect((await run('keys', ['list'])).stdout).toContain(`${key.slice(0, 11)}…  acme  jobs:read`);
    expect((await run('keys', ['revoke', key.slice(0, 11)])).stdout).toBe(`${key.slice(0, 11)}… of acme is revoked\n`);
    expect(await lastAudit('key_revoke')).toMatchObject({ target: key.slice(0, 11) });
    expect((await run('keys', ['list'])).stdout).toBe('0 live keys\n');
    expect(await run('keys', ['revoke', 'sk_nobody'])).toMatchObject({
      code: 1,
      stderr: 'pnpm keys: 0 keys begin with sk_nobody\n',
    });
  });
});

describe('a replay', () => {
  test('of a stream that is not there, or to where nothing listens, says so', async () => {
    expect(await run('replay', ['--stream', 'NOPE', '--from', '1'])).toMatchObject({
      code: 1,
      stderr: 'pnpm replay: stream not found\n',
    });
    await rig.call('/v1/events', { json: { app_id: 'shop', message_id: 'order-1', event: 'paid' } });
    const nowhere = await run('replay', ['--stream', 'EVENTS', '--from', '1', '--subject', 'nowhere.x']);
    expect(nowhere).toMatchObject({ code: 1, stdout: '' });
    expect(nowhere.stderr).toContain('no stream takes this subject');
  });

  // The state of a job is its last message: an old one behind it sent the mail of a job that had ended once more.
  test('of facts is refused, and changes none', async () => {
    await rig.call('/v1/emails', { json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } } });
    await run('credits', ['grant', 'acme', '5']);
    for (const stream of ['JOBS', 'CREDITS', 'AUDIT']) {
      const before = (await rig.bus.jsm.streams.info(stream)).state.last_seq;
      const refused = await run('replay', ['--stream', stream, '--from', '1']);
      expect({ stream, code: refused.code }).toEqual({ stream, code: 1 });
      expect(refused.stderr).toContain('are facts, which do not happen twice');
      expect((await rig.bus.jsm.streams.info(stream)).state.last_seq).toBe(before);
    }
    const elsewhere = await run('replay', ['--stream', 'EVENTS', '--from', '1', '--subject', 'jobs.x']);
    expect(elsewhere.code).toBe(1);
    const copied = await run('replay', ['--stream', 'JOBS', '--from', '1', '--subject', 'events.copy.jobs']);
    expect(copied.stdout).toMatch(/^\d+ messages of JOBS were published again/);
  });
});

test('pnpm templates writes, shows and deletes what an account sends', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-templates-'));
  try {
    const file = join(folder, 'receipt.json');
    const definition = {
      subject: 'Receipt',
      html: '<p>{{name}}</p>',
      text: '{{name}}',
      variables: { name: { kind: 'line' } },
    };
    await writeFile(file, JSON.stringify(definition));
    expect(await run('templates', ['put', 'acme', 'receipt', file])).toMatchObject({ code: 0, stdout: 'version 1\n' });
    expect(JSON.parse((await run('templates', ['show', 'acme', 'receipt'])).stdout)).toMatchObject(definition);
    expect((await run('templates', ['list', 'acme'])).stdout).toMatch(/^\S+ +1 {2}receipt\n$/);
    expect(await lastAudit('template_put')).toMatchObject({ target: 'acme/receipt' });
    await writeFile(file, JSON.stringify({ ...definition, html: '<script>x</script>' }));
    const refused = await run('templates', ['put', 'acme', 'receipt', file]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('/html has <script>') as string });
    expect((await run('templates', ['delete', 'acme', 'receipt'])).stdout).toBe('deleted\n');
    expect((await run('templates', ['list', 'acme'])).stdout).toBe('');
  } finally {
    await rm(folder, { recursive: true });
  }
});
