import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Job } from '@sluice/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRig, type Rig } from '../../../services/gateway/tests/rig.ts';
import { defaultWebhooks } from '../../../services/gateway/src/webhooks/webhooks.ts';
import { sluice, type Ended } from './sluice.ts';

const samples = join(import.meta.dirname, '../../../samples');
const pictures = ['photo.jpg', 'scan.png'].map((name) => join(samples, name));
const welcome = ['--template', 'welcome', '--set', 'name=Ada'] as const;

let rig: Rig;
let folder: string;
/** How mails to an address end: `permanent` dead-letters them, once. */
const broken = new Set<string>();
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-command-line-'));
  rig = await startRig({ settings: { webhooks: { ...defaultWebhooks, targets: 'any' } } });
  await rig.workers({
    send: ({ email }) =>
      Promise.resolve(
        broken.delete(email?.to ?? '') ? { kind: 'deadLetter', reason: 'refused by the mail server' } : undefined,
      ),
  });
});
afterAll(async () => {
  await rig?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

const run = (...args: readonly string[]): Promise<Ended> =>
  sluice(args, { SLUICE_URL: rig.gateway.url, NATS_URL: rig.nats.url });
const lines = <T>({ stdout }: Ended): T[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
/** A command that does what it should, and says nothing else. */
const done = async (...args: readonly string[]): Promise<Ended> => {
  const ended = await run(...args);
  expect(ended).toMatchObject({ code: 0 });
  return ended;
};

describe('making jobs', () => {
  test('sluice image leaves a PDF for each image', async () => {
    const { stdout, stderr } = await done('image', ...pictures, '--wait', '--out', folder);
    expect(readdirSync(folder).toSorted()).toEqual(['photo.pdf', 'scan.pdf']);
    expect(readFileSync(join(folder, 'scan.pdf'), 'latin1')).toMatch(/^%PDF-/);
    expect(stdout.match(/succeeded/g)).toHaveLength(2);
    // No bar where no terminal is.
    expect(stderr).toBe('');
  });

  test('sluice image makes jobs that are found by the name of the file', async () => {
    const [job] = lines<Job>(await done('image', pictures[1]!, '--wait', '--json'));
    await expect.poll(async () => (await done('job', 'list', '--file', 'SCAN.png')).stdout).toContain(job!.id);
  });

  test('sluice image --one makes one job of all, as JSON for programs', async () => {
    const [job, ...more] = lines<Job>(await done('image', '--one', ...pictures, '--wait', '--json'));
    expect(job).toMatchObject({ state: 'succeeded', result: { pages: 2 } });
    expect(more).toEqual([]);
  });

  test('sluice email and user send their mails', async () => {
    const [mail] = lines<Job>(await done('email', 'ada@example.com', ...welcome, '--json', '--wait'));
    expect(mail).toMatchObject({ kind: 'email', state: 'succeeded' });
    expect((await done('user', 'Ada', 'ada@example.com')).stdout).toMatch(/^job_\w+ {2}email {2}\w+/);
  });
});

describe('jobs', () => {
  test('are listed, shown, followed, and explained', async () => {
    const [job] = lines<Job>(await done('email', 'show@example.com', ...welcome, '--json', '--wait'));
    const { id } = job!;
    await expect.poll(async () => (await done('job', 'list', '--recipient', 'show@example.com')).stdout).toContain(id);
    expect((await done('job', 'list', '--since', '2030-01-01')).stdout).toBe('no jobs\n');
    expect((await done('job', 'get', id)).stdout).toContain('succeeded');
    const events = lines<{ id: string; type: string }>(await done('job', 'watch', id, '--json'));
    // What was done with the mail is told by the mailer, in its own time.
    expect(events).toContainEqual(expect.objectContaining({ type: 'state', state: 'succeeded' }));
    expect((await done('job', 'why', id)).stdout).toContain('It succeeded.');
    expect(await run('job', 'cancel', id)).toMatchObject({
      code: 4,
      stderr: 'sluice: The job has ended; there is nothing to cancel. (job_finished)\n',
    });
    expect(await run('job', 'rerun', id)).toMatchObject({
      code: 1,
      stderr: `sluice: ${id} is succeeded: only a job that failed can run again; --new sends it as a new job\n`,
    });
    const [again] = lines<Job>(await done('job', 'rerun', id, '--new', '--wait', '--json'));
    expect(again).toMatchObject({ kind: 'email', state: 'succeeded' });
    expect(again!.id).not.toBe(id);
  });

  test('that fail say so by the exit code, and run again from their dead letter', async () => {
    broken.add('again@example.com');
    const failed = await run('email', 'again@example.com', ...welcome, '--json', '--wait');
    const [job] = lines<Job>(failed);
    expect(failed).toMatchObject({
      code: 5,
      stderr: `sluice: ${job!.id} has failed: see \`sluice job why ${job!.id}\`\n`,
    });
    await expect.poll(async () => (await run('job', 'why', job!.id)).stdout).toContain(`sluice job rerun ${job!.id}`);
    expect(lines<Job>(await done('job', 'rerun', job!.id, '--wait', '--json'))).toMatchObject([
      { id: job!.id, state: 'succeeded' },
    ]);
  });
});

describe('dead letters', () => {
  const dead = async (address: string): Promise<string> => {
    broken.add(address);
    const [job] = lines<Job>(await run('email', address, ...welcome, '--json', '--wait'));
    const find = async () =>
      lines<{ id: string; jobId?: string }>(await done('dlq', 'list', '--json', '--limit', '500')).find(
        ({ jobId }) => jobId === job!.id,
      )?.id;
    await expect.poll(find).toBeDefined();
    return (await find())!;
  };

  test('are listed, shown, sent back and removed, alone and by a filter', async () => {
    const [first, second, third] = [
      await dead('a@example.com'),
      await dead('b@example.com'),
      await dead('c@example.com'),
    ];
    expect((await done('dlq', 'list')).stdout).toContain('refused by the mail server');
    expect((await done('dlq', 'show', first)).stdout).toContain('"reason": "rejected"');
    expect((await done('dlq', 'redrive', first)).stdout).toBe(`${first} redriven\n`);
    expect((await done('dlq', 'purge', second)).stdout).toBe(`${second} removed\n`);
    expect(
      lines(await done('dlq', 'redrive', '--all', '--consumer', 'welcome_mailer', '--dry-run', '--json')),
    ).toMatchObject([{ matched: 1, redriven: 0 }]);
    expect(lines(await done('dlq', 'purge', '--all', '--consumer', 'welcome_mailer', '--json'))).toMatchObject([
      { matched: 1, removed: 1 },
    ]);
    expect(await run('dlq', 'show', third)).toMatchObject({ code: 4 });
    expect(await run('dlq', 'purge')).toMatchObject({
      code: 2,
      stderr: 'sluice: name dead letters, or give --all, and not both\n',
    });
    expect(await run('dlq', 'purge', '--all')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('a purge of everything is not offered') as string,
    });
  });
});

describe('the system', () => {
  test('shows its streams, pauses and resumes, and knows messages of others', async () => {
    expect((await done('streams', 'jobs')).stdout).toMatch(/^stream.*\nJOBS/);
    expect(await run('streams', 'nowhere')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('there is no stream nowhere: there are') as string,
    });
    expect((await done('pipelines', 'pause', 'url_to_pdf')).stdout).toBe('url_to_pdf is paused\n');
    expect((await done('pipelines', 'resume', 'url_to_pdf')).stdout).toBe('url_to_pdf is at work\n');
    expect((await done('flows', 'set', 'shop', 'received', 'paid')).stdout).toBe(
      'messages of shop go through received, paid\n',
    );
    await rig.call('/v1/events', { json: { app_id: 'shop', message_id: 'order-7', event: 'received' } });
    await expect.poll(async () => (await done('messages', 'shop')).stdout).toMatch(/order-7 .*paid/);
    expect((await done('messages', 'shop', 'order-7')).stdout).toMatch(/received\n {2}\w+ {2}paid\n/);
    expect((await done('open', 'docs')).stdout).toBe(`${rig.gateway.url}/docs\n`);
  });

  test('has account commands, over the API and over the broker', async () => {
    const [before] = lines<{ secrets: { secret: string }[] }>(await done('webhooks', 'secrets', '--json'));
    const [after] = lines<{ secrets: { secret: string }[] }>(await done('webhooks', 'rotate', '--json'));
    expect(after!.secrets[1]!.secret).toBe(before!.secrets[0]!.secret);
    const made = await done('keys', 'create', 'jobs:read', 'jobs:write');
    expect(made.stdout).toMatch(/^sk_[\w-]{43}\n$/);
    const prefix = made.stdout.slice(0, 11);
    expect((await done('keys', 'list')).stdout).toMatch(new RegExp(`^${prefix}….*jobs:read, jobs:write$`, 'm'));
    expect((await done('keys', 'revoke', prefix)).stdout).toBe(`${prefix} is revoked\n`);
    expect(await run('keys', 'revoke', prefix)).toMatchObject({ code: 4, stdout: '' });
    expect(await run('keys', 'create', 'everything')).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/^sluice: \/scopes\/0 must be one of .*\n$/) as string,
    });
    expect((await done('account')).stdout).toContain('may     everything: keys are off');
    expect(await run('credits', 'destroy')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^sluice credits: .*; see sluice credits --help\n$/) as string,
    });
    expect((await done('credits', 'grant', 'acme', '-5')).stdout).toContain('-5');
  });

  test('calls a receiver to try it, and lists what became of webhooks', async () => {
    const receiver = createServer((_, response) => response.writeHead(204).end());
    receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    expect((await done('webhooks', 'test', url)).stdout).toMatch(
      /^delivered: the receiver answered 204 after \d+ ms\n$/,
    );
    const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, callbackUrl: url };
    const { body: job } = await rig.call<Job>('/v1/emails', { json });
    await expect
      .poll(async () => (await done('webhooks', 'list')).stdout)
      .toMatch(new RegExp(`${job.id} +delivered .*the receiver answered 204`));
    receiver.close();
    receiver.closeAllConnections();
    expect(await run('webhooks', 'test', url)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^sluice: not delivered: the receiver could not be reached: .*\n$/) as string,
    });
  });

  test('is looked over by doctor, which says what fixes what is wrong', async () => {
    const findings = lines<{ what: string; state: string }>(await run('doctor', '--json'));
    // No service of the rig takes the callbacks of clients.
    expect(findings.filter(({ what, state }) => state === 'wrong' && what !== 'CLIENTS')).toEqual([]);
    expect(findings.map(({ what }) => what)).toEqual(
      expect.arrayContaining(['Node', 'disk', 'API', 'clock', 'ready', 'key']),
    );
    const down = await sluice(['doctor'], { SLUICE_URL: 'http://127.0.0.1:1' });
    expect(down).toMatchObject({ code: 1, stderr: 'sluice: 1 thing is wrong\n' });
    expect(down.stdout).toContain('fix: npx pnpm dev');
  });

  test('takes a load and reports it', async () => {
    const [report] = lines<{ answers: Record<string, number>; jobs: { states: Record<string, number> } }>(
      await done(
        'load',
        '--rate',
        '20',
        '--seconds',
        '1',
        '--image',
        pictures[1]!,
        '--share',
        '50',
        '--wait',
        '--json',
      ),
    );
    expect(report).toMatchObject({ answers: { '202': 20 }, jobs: { states: { succeeded: 20 } } });
  });
});

describe('what goes wrong is one line and an exit code', () => {
  test.each([
    [['image', 'nowhere.png'], 2, 'sluice: nowhere.png cannot be read (ENOENT)\n'],
    [['image', samples], 2, `sluice: ${samples} is no file\n`],
    [['image', pictures[0]!, '--out', 'nowhere'], 2, 'sluice: --out nowhere is no folder: make it with mkdir first\n'],
    [['image', ...pictures, '--key', 'k'], 2, 'sluice: --key is for one job: give one image, or --one\n'],
    [['email', 'ada@example.com', '--set', 'name'], 2, 'sluice: --set name is not NAME=VALUE\n'],
    [['email', 'no address', ...welcome], 4, expect.stringMatching(/^sluice: .*\(invalid_request\)\n$/)],
    [['email'], 2, "sluice: missing required argument 'address'\n"],
    [['job', 'get', 'job_nothing'], 4, expect.stringMatching(/^sluice: .*\(not_found\)\n$/)],
    [['job', 'list', '--since', 'soon'], 2, 'sluice: --since soon is neither a time nor 15m, 2h or 7d\n'],
    [['job', 'lists'], 2, "sluice: unknown command 'lists' (did you mean list?)\n"],
    [
      ['load', '--rate', 'fast'],
      2,
      "sluice: option '--rate <n>' argument 'fast' is invalid. A number from 0 on is wanted.\n",
    ],
    [['streams', '--url', 'nowhere'], 2, 'sluice: --url nowhere is no address such as http://localhost:8080\n'],
    [
      ['streams', '--url', 'http://127.0.0.1:1'],
      3,
      expect.stringMatching(/^sluice: no answer from http:\/\/127\.0\.0\.1:1: .*npx pnpm dev.*\n$/),
    ],
    [
      ['streams', '--port-offset', '14999'],
      3,
      'sluice: no system runs on --port-offset 14999: start one with `npx pnpm dev`, or set SLUICE_URL\n',
    ],
  ] as const)('%j', async (args, code, stderr: unknown) => {
    expect(await run(...args)).toEqual({ code, stdout: '', stderr });
  });

  test('a key that is missing says what to do', async () => {
    const closed = await rig.replica({ settings: { auth: 'keys' } });
    const ended = await sluice(['job', 'list'], { SLUICE_URL: closed.url });
    expect(ended).toMatchObject({ code: 4, stdout: '' });
    expect(ended.stderr).toContain('Set SLUICE_API_KEY');
  });
});
