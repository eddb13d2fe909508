// Copies of a mail: each is a mail of its own to a real SMTP session, with its own verdict.
import { channels } from '@sluice/contracts';
import { startScriptedSmtp, type ScriptedMail, type ScriptedSmtp } from '@sluice/dev';
import { newJobId } from '@sluice/jobs';
import { openSuppressions, readBounceToken, readUnsubscribeToken, type Suppressions } from '@sluice/suppression';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fastBreaker, startBroker, type Asked, type Broker, type EmailProcess } from './email-run.ts';

const SECRET = 'a secret of some length';
let broker: Broker;
let smtp: ScriptedSmtp;
let email: EmailProcess;
let list: Suppressions;
beforeAll(async () => {
  [broker, smtp] = await Promise.all([startBroker(), startScriptedSmtp()]);
  list = await openSuppressions(broker.bus.nc);
  email = await broker.email(smtp.url, {
    env: {
      BOUNCE_DOMAIN: 'bounces.example.com',
      BOUNCE_SECRET: SECRET,
      UNSUBSCRIBE_URL: 'https://sluice.example/v1/unsubscribe?token={token}',
      UNSUBSCRIBE_SECRET: SECRET,
      QUOTA_PER_RECIPIENT_PER_HOUR: '2',
      RETRY_ATTEMPTS: '3',
    },
    tuning: { ...fastBreaker, breaker: { minAttempts: 50, window: 50 } },
  });
});
afterAll(async () => {
  await email?.stop();
  await Promise.all([smtp?.close(), broker?.close()]);
});
beforeEach(() => smtp.play());

/** Sends a mail with copies and says how it ended and what the server saw of it. */
async function send(asked: Omit<Asked, 'jobId'>) {
  const jobId = newJobId();
  const before = smtp.mails.length;
  await broker.ask({ jobId, template: 'notification', variables: { message: 'hi' }, ...asked });
  const { result, deadLetter } = await broker.ended(jobId);
  const mails = smtp.mails.slice(before).filter(({ data }) => data.includes(jobId));
  const value = result?.outcome.case === 'succeeded' ? result.outcome.value : undefined;
  return { jobId, outcome: result?.outcome, copies: value?.copies ?? [], deadLetter, mails };
}
const header = ({ data }: ScriptedMail, name: string): string | undefined =>
  new RegExp(`^${name}: ?(.*(?:\r\n[ \t].*)*)\r$`, 'mi').exec(data.slice(0, data.indexOf('\r\n\r\n')))?.[1];

test('a mail and its copies go out one by one, and who is in bcc stands in none of them', async () => {
  const [cc, bcc] = [
    ['bo@example.com', 'cy@example.org'],
    ['hidden.one@example.com', 'hidden.two@example.org'],
  ];
  const { jobId, copies, mails } = await send({ to: 'ada@example.com', cc, bcc });
  expect(mails.map(({ to }) => to)).toEqual([['ada@example.com'], ...[...cc, ...bcc].map((address) => [address])]);
  for (const mail of mails) {
    expect(header(mail, 'To')).toBe('ada@example.com');
    expect(header(mail, 'Cc')).toBe('bo@example.com, cy@example.org');
    expect(header(mail, 'Bcc')).toBeUndefined();
    expect(mail.data).not.toMatch(/hidden\.(?:one|two)/);
    expect(header(mail, 'Message-ID')).toBe(header(mails[0]!, 'Message-ID'));
  }
  expect(copies.map(({ recipient, provider, failed }) => ({ recipient, provider, failed }))).toEqual(
    ['/cc/0', '/cc/1', '/bcc/0', '/bcc/1'].map((recipient) => ({ recipient, provider: 'a', failed: undefined })),
  );
  // Each reader unsubscribes and complains for itself.
  for (const [copy, mail] of mails.entries()) {
    const token = /token=([\w.-]+)/.exec(header(mail, 'List-Unsubscribe') ?? '')?.[1] ?? '';
    expect(readUnsubscribeToken(token, SECRET)).toBe(mail.to[0]);
    expect(readBounceToken(mail.from, SECRET)).toEqual({ jobId, copy });
    expect(readBounceToken(header(mail, 'X-Sluice-Report') ?? '', SECRET)).toEqual({ jobId, copy });
  }
});

describe('a copy', () => {
  test('that is suppressed, over its quota or refused fails alone, and the job says which', async () => {
    await list.add('gone@example.com', 'manual');
    for (const _ of [1, 2]) await send({ to: 'often@example.com' });
    smtp.play({ domains: { 'refused.example': { kind: 'reply', code: 550, text: '5.1.1 no such user' } } });
    const bcc = ['gone@example.com', 'often@example.com', 'who@refused.example', 'well@example.com'];
    const { outcome, copies, mails } = await send({ to: 'ada1@example.com', bcc });
    expect(outcome?.case).toBe('succeeded');
    expect(mails.map(({ to }) => to[0])).toEqual(['ada1@example.com', 'well@example.com']);
    expect(copies.map(({ failed }) => failed?.code)).toEqual([
      'recipient_suppressed',
      'quota_exceeded',
      'mail_rejected',
      undefined,
    ]);
    // A server's word on the mailbox of a copy counts as that on any other.
    expect(await list.find('who@refused.example')).toMatchObject([{ reason: 'bounce' }]);
    expect(await list.find('ada1@example.com')).toEqual([]);
  });

  test('that is deferred is tried again, and nothing that was sent is sent twice', async () => {
    let refusals = 0;
    smtp.play({
      decide: (stage) =>
        stage === 'rcpt' && ++refusals === 2 ? { kind: 'reply', code: 451, text: '4.7.1 later' } : undefined,
    });
    const { jobId, copies, mails } = await send({ to: 'ada2@example.com', cc: ['bo2@example.com', 'cy2@example.com'] });
    const told = (await broker.bus.last(channels.emailDeferred, {}))?.data;
    expect(told).toMatchObject({ jobId, attempt: 1, detail: '/cc/0: a: 451 4.7.1 later' });
    expect(mails.map(({ to }) => to[0])).toEqual(['ada2@example.com', 'cy2@example.com', 'bo2@example.com']);
    expect(copies.every(({ failed, ambiguous }) => failed === undefined && !ambiguous)).toBe(true);
  });

  test('without an answer is sent again and marked, and the others are not', async () => {
    let ends = 0;
    smtp.play({ decide: (stage) => (stage === 'body' && ++ends === 2 ? { kind: 'drop', stored: true } : undefined) });
    const { outcome, copies, mails } = await send({
      to: 'ada3@example.com',
      cc: ['bo3@example.com', 'cy3@example.com'],
    });
    expect(mails.map(({ to }) => to[0])).toEqual([
      'ada3@example.com',
      'bo3@example.com',
      'cy3@example.com',
      'bo3@example.com',
    ]);
    expect(outcome).toMatchObject({ value: { ambiguous: false } });
    expect(copies.map(({ ambiguous }) => ambiguous)).toEqual([true, false]);
  });

  test('that is deferred to the end is given up, and the job has succeeded all the same', async () => {
    smtp.play({ domains: { 'full.example': { kind: 'reply', code: 452, text: '4.2.2 mailbox full' } } });
    const { outcome, copies, deadLetter } = await send({ to: 'ada4@example.com', cc: ['bo@full.example'] });
    expect(deadLetter).toBeUndefined();
    expect(outcome?.case).toBe('succeeded');
    expect(copies[0]?.failed).toMatchObject({
      code: 'undelivered',
      detail: expect.stringContaining('4.2.2') as string,
    });
  });
});

test('a mail that is refused has no copies', async () => {
  smtp.play({ domains: { 'refused.example': { kind: 'reply', code: 550, text: '5.1.1 no such user' } } });
  const { outcome, mails } = await send({ to: 'ada@refused.example', bcc: ['bo5@example.com'] });
  expect(outcome).toMatchObject({ case: 'failed', value: { code: 'mail_rejected' } });
  expect(mails).toEqual([]);
});

test.each([
  ['a list', { cc: ['bo6@example.com, evil@example.com'] }],
  ['a header', { bcc: ['bo6@example.com\r\nX-Evil: 1'] }],
  ['an address twice', { cc: ['bo6@example.com'], bcc: ['BO6@example.com'] }],
  ['21 copies', { bcc: Array.from({ length: 21 }, (_, n) => `many${n}@example.com`) }],
])('%s for copies is refused with nothing sent', async (_, copies) => {
  const { outcome, mails } = await send({ to: 'ada6@example.com', ...copies });
  expect(outcome).toMatchObject({ case: 'failed', value: { code: 'invalid_address' } });
  expect(mails).toEqual([]);
});
