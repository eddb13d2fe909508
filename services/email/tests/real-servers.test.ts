import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { afterAll, describe, expect, test } from 'vitest';
import { fastBreaker, startBroker } from './email-run.ts';
import { startRealMailServers } from './real-mail-servers.ts';
import { signingMailer } from './signing.ts';

const servers = await startRealMailServers();
if (typeof servers === 'string') {
  console.warn(`real mail servers: not run, ${servers}`);
  test.skip(`real mail servers: ${servers}`, () => {});
}

describe.skipIf(typeof servers === 'string')('Exim, postgrey and dkimpy of Debian', async () => {
  if (typeof servers === 'string') return;
  const { env, record } = signingMailer();
  const broker = await startBroker();
  const second: ScriptedSmtp = await startScriptedSmtp();
  const email = await broker.email(`${servers.eximUrl},${second.url}`, {
    env,
    tuning: { ...fastBreaker, breaker: { minAttempts: 50, window: 50 } },
  });
  afterAll(async () => {
    await email.stop();
    await Promise.all([second.close(), broker.close(), servers.close()]);
  });

  let serial = 0;
  const send = async (to: string, variables: Record<string, string> = { message: 'hi' }) => {
    const jobId = `job_real_${(serial += 1)}`;
    await broker.ask({ jobId, to, template: 'notification', variables });
    const { result } = await broker.ended(jobId);
    return { jobId, outcome: result?.outcome, deliveries: result?.attempt };
  };
  const takenBy = async (jobId: string) => (await servers.taken()).filter((line) => line.includes(`id=${jobId}.`));

  test('take a mail once, over one session for many', async () => {
    const ends = await Promise.all(Array.from({ length: 20 }, (_, n) => send(`ada${n}@example.com`)));
    for (const { jobId, outcome } of ends) {
      expect(outcome).toMatchObject({ case: 'succeeded', value: { provider: 'a', ambiguous: false, attempts: 1 } });
      expect(await takenBy(jobId)).toHaveLength(1);
    }
  });

  test('that deny relaying leave the mail to the next provider and suppress nobody', async () => {
    for (const to of ['ada@elsewhere.example', 'ada@elsewhere.example', 'listed@example.com', 'listed@example.com']) {
      expect((await send(to)).outcome).toMatchObject({ case: 'succeeded', value: { provider: 'b' } });
    }
    expect(await servers.rejected()).toContain('relay not permitted');
  });

  test('that know no such mailbox end it: at once by code, the second time in words', async () => {
    expect((await send('gone@example.com')).outcome).toMatchObject({ value: { code: 'mail_rejected' } });
    expect((await send('gone@example.com')).outcome).toMatchObject({ value: { code: 'recipient_suppressed' } });
    expect((await send('nosuch@example.com')).outcome).toMatchObject({ value: { code: 'mail_rejected' } });
    expect((await send('nosuch@example.com')).outcome).toMatchObject({ value: { code: 'mail_rejected' } });
    expect((await send('nosuch@example.com')).outcome).toMatchObject({ value: { code: 'recipient_suppressed' } });
  });

  test('that greylist get the mail again later, once', async () => {
    second.play({ rcpt: { kind: 'reply', code: 451, text: '4.7.1 not here either' } });
    const { jobId, outcome, deliveries } = await send('grey@example.com');
    second.play();
    expect(outcome).toMatchObject({ case: 'succeeded', value: { provider: 'a', ambiguous: false } });
    expect(deliveries).toBeGreaterThan(1);
    expect(await takenBy(jobId)).toHaveLength(1);
  });

  test('that refuse the content end it, and no other provider is asked', async () => {
    const before = second.mails.length;
    expect((await send('content@example.com')).outcome).toMatchObject({
      value: { code: 'mail_rejected', detail: expect.stringContaining('looks like spam') as string },
    });
    expect(second.mails).toHaveLength(before);
  });

  test('that hang up at RCPT leave the mail to the next provider', async () => {
    expect((await send('dropped@example.com')).outcome).toMatchObject({ case: 'succeeded', value: { provider: 'b' } });
  });

  test('verify the signature, which covers both headers of the one click', async () => {
    await send('signed@elsewhere.example', { message: `${'ü'.repeat(300)} \n.\n..`, title: 'Grüße — 日本語' });
    const mail = second.mails.find(({ to }) => to[0] === 'signed@elsewhere.example')?.data ?? '';
    const changed = [
      mail.replace('One-Click', 'One-Clock'),
      mail.replace('/v1/unsubscribe?token=', '/v2/unsubscribe?token='),
      `${mail}x`,
      `From: evil@example.org\r\n${mail}`,
    ];
    expect(await servers.verifyDkim([mail, ...changed], record)).toEqual([true, false, false, false, false]);
  });
});
