import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findNatsProgram, newNatsIdentity, serviceNames, startStack, type Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayClient, until } from './gateway-client.ts';

/** `cancelCheckAfterMs` of the email service, and a second. */
const CHECKED_AFTER_MS = 6_000;
const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);
const identities = Object.fromEntries([...serviceNames, 'operator'].map((user) => [user, newNatsIdentity()]));
const seedOf = (user: string): string => identities[user]?.seed ?? '';

let directory: string;
let stack: Stack;
let api: ReturnType<typeof gatewayClient>;

/** What the server refused so far, as its log says it. */
const violations = async (): Promise<string[]> =>
  (await readFile(join(directory, 'nats.log'), 'utf8')).split('\n').filter((line) => /violation/i.test(line));

/** An attacker who has a service's seed. */
const intruder = (service: string): ReturnType<typeof connectNats> =>
  connectNats({
    url: stack.urls.nats,
    name: 'intruder',
    inboxPrefix: `_INBOX_${service}`,
    nkeySeed: seedOf(service),
  });

/** Newer servers can name domain and account in the subjects of acknowledgements and flow control. */
const program = await findNatsProgram();
const hasFlag = program.kind === 'binary' && Number(program.version?.split('.')[1]) >= 15;
const configurations = [
  ['', ''],
  ...(hasFlag ? [[', with js_ack_fc_v2', 'feature_flags { js_ack_fc_v2: true }'] as const] : []),
] as const;

describe.each(configurations)('the system on a broker that lets each service do its own work alone%s', (_, flags) => {
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-users-'));
    const users = await readFile(join(ROOT, 'deploy/nats/users.conf'), 'utf8');
    const config = users.replaceAll(
      /\$NATS_([A-Z]+)_NKEY/g,
      (_, name: string) => identities[name.toLowerCase()]?.publicKey ?? '',
    );
    // What the broker is given opens nothing.
    for (const { seed } of Object.values(identities)) expect(config).not.toContain(seed);
    stack = await startStack({
      dataDirectory: join(directory, 'data'),
      natsConfig: `${flags}\n${config}\nlog_file: "${join(directory, 'nats.log')}"\n`,
      env: Object.fromEntries(
        serviceNames.map((service) => [
          service,
          {
            NATS_NKEY_SEED: seedOf(service),
            CREDITS: 'on',
            CREDIT_PRICE_EMAIL: '0',
            CREDIT_PRICE_IMAGE: '0',
          },
        ]),
      ),
    });
    api = gatewayClient(stack.urls.gateway);
  });
  afterAll(async () => {
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('does all of it, and tries nothing that it may not', async () => {
    const photo = await readFile(join(ROOT, 'samples/photo.jpg'));
    const json = { 'content-type': 'application/json' };
    const image = await api.accept('/v1/images?notify=ada@example.com&priority=express', photo);
    const mail = await api.accept(
      '/v1/emails',
      JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } }),
      json,
    );
    const poison = await api.accept('/v1/images', photo.subarray(0, photo.length / 2));
    expect((await api.ended(image.id)).state).toBe('succeeded');
    expect((await api.ended(mail.id)).state).toBe('succeeded');
    expect((await api.ended(poison.id)).state).toBe('failed');
    await until('the notice is there', () => stack.mail.mailbox.all().length >= 2);

    // Paused work waits, is cancelled, and goes on.
    const turn = async (to: 'pause' | 'resume'): Promise<void> => {
      const answer = await api.post(`/v1/pipelines/welcome_mailer:${to}`, '{}', json);
      expect(answer.status).toBe(202);
    };
    await turn('pause');
    const { opsUrl } = stack.services.find(({ name }) => name === 'email')!;
    await until('the mailer stands still', async () => {
      const text = await (await fetch(`${opsUrl}/metrics`)).text();
      return /^pipeline_state\{[^}]*pipeline="welcome_mailer"[^}]*state="paused"[^}]*\} 1$/m.test(text);
    });
    const acceptedMs = Date.now();
    const late = await api.accept(
      '/v1/emails',
      JSON.stringify({ to: 'bob@example.com', template: 'welcome', variables: { name: 'Bob' } }),
      json,
    );
    expect((await fetch(`${stack.urls.gateway}/v1/jobs/${late.id}`, { method: 'DELETE' })).status).toBe(202);
    // The mailer looks for a cancellation only where a mail has waited: fresh ones are sent without a read.
    await until('the mail has waited for longer', () => Date.now() - acceptedMs > CHECKED_AFTER_MS);
    await turn('resume');
    expect((await api.ended(late.id)).state).toBe('cancelled');

    await until('every callback was taken', async () =>
      (await api.events(image.id)).some(({ app, event }) => app === 'client' && event === 'acked'),
    );

    const begun = await api.post('/v1/erasures', JSON.stringify({ recipient: 'ada@example.com' }), json);
    expect(begun.status).toBe(202);
    const { id } = (await begun.json()) as { id: string };
    await until('the person is erased', async () => {
      const answer = await fetch(`${stack.urls.gateway}/v1/erasures/${id}`);
      const { state, jobs } = (await answer.json()) as { state: string; jobs: number };
      return state === 'finished' && jobs >= 2;
    });
    expect(await violations()).toEqual([]);
  });

  test('runs the commands of operators', async () => {
    const command = async (script: string, ...args: string[]): Promise<string> => {
      const env = {
        ...process.env,
        NATS_URL: stack.urls.nats,
        NATS_USER: 'operator',
        NATS_NKEY_SEED: seedOf('operator'),
      };
      const { stdout } = await run(process.execPath, [join(ROOT, 'services/gateway/src', script), ...args], { env });
      return stdout;
    };
    const created = await command('cli/keys.ts', 'create', 'acme');
    const key = /^sk_\S+/.exec(created)?.[0] ?? '';
    expect(await command('cli/keys.ts', 'list')).toContain('acme');
    expect(await command('cli/keys.ts', 'revoke', key.slice(0, 11))).toContain('revoked');
    expect(await command('cli/credits.ts', 'grant', 'acme', '5')).toContain('acme has 5 credits');
    expect(await command('cli/credits.ts', 'balance', 'acme')).toContain('acme has 5 credits');
    expect(await command('cli/credits.ts', 'list', 'acme')).toContain('5');
    expect(await command('cli/provision.ts')).toContain('everything is as the topology has it');
    await command('cli/replay.ts', '--stream', 'EVENTS', '--from', '1', '--subject', 'events.again.x');
    expect(await command('cli/replay.ts', '--into', join(directory, 'model.db'))).toMatch(/[1-9]\d* events into/);
    expect(await violations()).toEqual([]);
  });

  const intrusions: readonly (readonly [service: string, subject: string, what: string])[] = [
    ['email', 'image.convert.url', 'give the converter work'],
    ['email', 'user.image.converted', 'settle what another service does'],
    ['image', 'user.email.sent', 'settle what another service does'],
    ['image', 'jobs.job_a', 'write the history of a job'],
    ['client', 'user.image.converted', 'settle a job'],
    ['client', 'jobs.job_a', 'write the history of a job'],
    ['client', 'email.send.welcome', 'send a mail past the gateway'],
    ['client', 'credits.acme', 'give itself credits'],
    ['email', '$JS.API.STREAM.MSG.GET.JOBS', 'read any message of any job by number'],
    ['email', '$JS.API.CONSUMER.CREATE.USERS', 'follow the commands of clients'],
    ['gateway', '$JS.API.STREAM.DELETE.JOBS', 'delete a stream'],
    ['gateway', '$JS.API.STREAM.PURGE.AUDIT', 'empty the audit'],
    ['gateway', '$JS.API.STREAM.UPDATE.AUDIT', 'truncate the audit'],
    ['gateway', '$JS.API.STREAM.UPDATE.CREDITS', 'truncate the ledger'],
    ['gateway', '$JS.API.STREAM.PURGE.CREDITS', 'empty the ledger'],
    ['gateway', '$JS.API.STREAM.MSG.DELETE.CREDITS', 'take an entry out of the ledger'],
    ['gateway', '$JS.API.STREAM.PURGE.JOBS', 'forget every job'],
    ['gateway', '$JS.API.STREAM.MSG.DELETE.AUDIT', 'take an entry out of the audit'],
    ['gateway', '$JS.API.STREAM.RESTORE.CREDITS', 'replace the ledger'],
    ['gateway', '$JS.API.ACCOUNT.PURGE.$G', 'empty everything'],
    ['client', '$KV.api_keys.x', 'make a key'],
    ['gateway', '$KV.email_inbox.x', 'have a mail sent twice'],
    ['email', '$JS.API.STREAM.CREATE.KV_email_inbox', 'make a bucket'],
    ['email', '$KV.pipelines.x', 'pause a pipeline'],
    ['image', '$JS.API.STREAM.PURGE.IMAGES', 'lose what waits'],
    ['operator', '$JS.API.STREAM.DELETE.JOBS', 'delete a stream'],
    ['operator', '$JS.API.STREAM.PURGE.CREDITS', 'empty the ledger'],
    ['operator', 'jobs.job_a', 'write the history of a job'],
  ];
  // What the flag changes are the subjects of acknowledgements and flow control, and none of these.
  const refused = flags === '' ? intrusions : [];
  test.each(refused)('%s may not publish to %s: %s', async (service, subject) => {
    const nc = await intruder(service);
    try {
      await expect(nc.request(subject, '{}', { timeout: 20_000 })).rejects.toThrow(/permissions violation/i);
    } finally {
      await nc.close();
    }
  });

  test.each(['image', 'email', 'client'] as const)('%s reads no answers of another service', async (service) => {
    const nc = await intruder(service);
    try {
      const refused = Promise.withResolvers<string>();
      nc.subscribe('_INBOX_gateway.>', { callback: (error) => refused.resolve(String(error)) });
      expect(await refused.promise).toMatch(/permissions violation/i);
    } finally {
      await nc.close();
    }
  });

  test('refuses a connection without a user', async () => {
    await expect(connectNats({ url: stack.urls.nats, name: 'no-credentials', waitForServer: false })).rejects.toThrow(
      /authorization/i,
    );
  });
});
