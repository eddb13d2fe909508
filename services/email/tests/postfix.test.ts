import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { openSuppressions } from '@sluice/suppression';
import { afterAll, describe, expect, test } from 'vitest';
import { hasDkimpy, verifyDkim } from './dkimpy.ts';
import { fastBreaker, startBroker, type Asked } from './email-run.ts';
import { startPostfix } from './postfix.ts';
import { signingMailer } from './signing.ts';

const root = process.env['POSTFIX_ROOT'] ?? '/';
const postfix = await startPostfix(root);
if (typeof postfix === 'string') {
  console.warn(`Postfix: not run, ${postfix}`);
  test.skip(`Postfix: ${postfix}`, () => {});
}

describe.skipIf(typeof postfix === 'string')('Postfix of Debian', async () => {
  if (typeof postfix === 'string') return;
  const { env, record } = signingMailer();
  const broker = await startBroker();
  const list = await openSuppressions(broker.bus.nc);
  const second: ScriptedSmtp = await startScriptedSmtp();
  const email = await broker.email(`${postfix.url},${second.url}`, {
    env,
    tuning: { ...fastBreaker, breaker: { minAttempts: 50, window: 50 } },
  });
  afterAll(async () => {
    await email.stop();
    await Promise.all([second.close(), broker.close(), postfix.close()]);
  });

  let serial = 0;
  const send = async (to: string, more: Partial<Asked> = {}) => {
    const jobId = `job_postfix_${(serial += 1)}`;
    await broker.ask({ jobId, to, template: 'notification', variables: { message: 'hi' }, ...more });
    const { result } = await broker.ended(jobId);
    return { jobId, outcome: result?.outcome, deliveries: result?.attempt };
  };
  /** The mails of a job in the mailbox, once its last one is there. */
  const stored = async (jobId: string): Promise<string[]> => {
    let found: string[] = [];
    await expect
      .poll(async () => (found = (await postfix.mailbox()).filter((mail) => mail.includes(`<${jobId}.`))))
      .not.toEqual([]);
    return found;
  };
  const byPostfix = { case: 'succeeded', value: { provider: 'a', ambiguous: false } };
  const byTheSecond = { case: 'succeeded', value: { provider: 'b' } };

  test('takes mails once', async () => {
    const ends = await Promise.all(Array.from({ length: 20 }, (_, n) => send(`ada${n}@example.com`)));
    for (const { jobId, outcome } of ends) {
      expect(outcome).toMatchObject(byPostfix);
      expect(await stored(jobId)).toHaveLength(1);
    }
  });

  test('that denies relaying or has us on a list leaves the mail to the next provider and suppresses nobody', async () => {
    for (const to of ['ada@elsewhere.example', 'ada@elsewhere.example', 'listed@example.com', 'listed@example.com']) {
      expect((await send(to)).outcome).toMatchObject(byTheSecond);
      expect(await list.find(to)).toEqual([]);
    }
    expect(await postfix.log()).toMatch(/Relay access denied[^]*blocked using bl\.example\.net/);
  });

  test('that knows no such user ends the mail, and suppresses the address', async () => {
    expect((await send('gone@example.com')).outcome).toMatchObject({
      value: { code: 'mail_rejected', detail: expect.stringContaining('User unknown') as string },
    });
    expect((await send('gone@example.com')).outcome).toMatchObject({ value: { code: 'recipient_suppressed' } });
  });

  test('that refuses the content ends the mail, and no other provider is asked', async () => {
    const before = second.mails.length;
    expect((await send('content@example.com', { headers: { 'X-Campaign': 'spam' } })).outcome).toMatchObject({
      value: { code: 'mail_rejected', detail: expect.stringContaining('looks like spam') as string },
    });
    expect(second.mails).toHaveLength(before);
  });

  test('offers SMTPUTF8, and gets mail to an address outside ASCII', async () => {
    const { jobId, outcome } = await send('jürgen@example.com');
    expect(outcome).toMatchObject(byPostfix);
    expect(Buffer.from((await stored(jobId))[0] ?? '', 'latin1').toString()).toContain('To: jürgen@example.com');
  });

  test.skipIf(!postfix.greylists)('that greylists gets the mail again later, once', async () => {
    second.play({ rcpt: { kind: 'reply', code: 451, text: '4.7.1 not here either' } });
    const { jobId, outcome, deliveries } = await send('grey@example.com');
    second.play();
    expect(outcome).toMatchObject(byPostfix);
    expect(deliveries).toBeGreaterThan(1);
    expect(await stored(jobId)).toHaveLength(1);
    expect(await postfix.log()).toContain('Greylisted');
  });

  test.skipIf(!(await hasDkimpy(root)))(
    'leaves a signature that dkimpy verifies, and that breaks when a header is added or changed',
    async () => {
      const variables = { message: `${'ü'.repeat(300)} \n.\n..`, title: 'Grüße — 日本語' };
      const { jobId } = await send('signed@example.com', { variables, replyTo: 'help@sluice.example' });
      const [mail = ''] = await stored(jobId);
      const added = ['From: evil@example.org', 'Subject: Pay', 'Reply-To: evil@example.org', 'Cc: all@x.example'];
      const broken = [mail.replace('One-Click', 'One-Clock'), ...added.map((header) => `${header}\n${mail}`)];
      const whole = [mail, `Sender: list@example.org\n${mail}`];
      const mails = [...whole, ...broken].map((each) => each.replaceAll('\n', '\r\n'));
      expect(await verifyDkim(mails, record, root)).toEqual([...whole.map(() => true), ...broken.map(() => false)]);
    },
  );
});
