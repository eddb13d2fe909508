// What a server's refusal means for the recipient, for the mail and for mail to others, from the queue to the result.
import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fastBreaker, shortTimeouts, startBroker, type Broker, type EmailProcess } from './email-run.ts';

let broker: Broker;
let smtp: ScriptedSmtp;
let email: EmailProcess;
beforeAll(async () => {
  [broker, smtp] = await Promise.all([startBroker(), startScriptedSmtp()]);
});
afterEach(async () => {
  await email?.stop();
  smtp.play();
});
afterAll(async () => {
  await Promise.all([smtp?.close(), broker?.close()]);
});

let serial = 0;
/** Sends one mail and says how it ended: `sent`, or the code of its failure. */
async function send(to: string): Promise<string> {
  const jobId = `job_refusal_${(serial += 1)}`;
  await broker.ask({ jobId, to, template: 'notification', variables: { message: 'hi' } });
  const { result } = await broker.ended(jobId);
  const outcome = result?.outcome;
  return outcome?.case === 'failed' ? outcome.value.code : 'sent';
}
const refuseAtRcpt = (words: string): void => smtp.play({ rcpt: { kind: 'bytes', bytes: `${words}\r\n` } });

describe('a relay that refuses its client', () => {
  test.each([
    '550 relay not permitted',
    '550 Unauthenticated senders not allowed',
    '550 Sender verify failed',
    '550-Please turn on SMTP Authentication in your mail client.\r\n550 without authentication.',
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    '550 #5.1.0 Address rejected.',
    '554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org',
    '550 5.1.1 relaying denied',
  ])('with "%s" suppresses no recipient', async (words) => {
    email = await broker.email(smtp.url, { tuning: { ...fastBreaker, breaker: { minAttempts: 20, window: 20 } } });
    const to = `healthy.${serial}@example.com`;
    for (let refused = 0; refused < 3; refused++) {
      refuseAtRcpt(words);
      expect(await send(to)).toBe('mail_rejected');
    }
    smtp.play();
    expect(await send(to)).toBe('sent');
  });
});

describe('a mailbox that does not exist', () => {
  test('by an enhanced code, before or after the mail, gets no further mail', async () => {
    email = await broker.email(smtp.url);
    refuseAtRcpt('550 5.1.10 recipient not found');
    expect(await send('gone.rcpt@example.com')).toBe('mail_rejected');
    smtp.play({ body: { kind: 'bytes', bytes: '550 5.1.1 no such user\r\n' } });
    expect(await send('gone.data@example.com')).toBe('mail_rejected');
    smtp.play();
    expect(await send('gone.rcpt@example.com')).toBe('recipient_suppressed');
    expect(await send('gone.data@example.com')).toBe('recipient_suppressed');
  });

  test('in words alone gets no further mail after the second time', async () => {
    email = await broker.email(smtp.url);
    refuseAtRcpt('550 no such user');
    expect(await send('words@example.com')).toBe('mail_rejected');
    expect(await send('words@example.com')).toBe('mail_rejected');
    smtp.play();
    expect(await send('words@example.com')).toBe('recipient_suppressed');
  });

  test('in words alone, and then takes a mail, was there after all', async () => {
    email = await broker.email(smtp.url);
    for (let round = 0; round < 2; round++) {
      refuseAtRcpt('550 mailbox unavailable');
      expect(await send('there@example.com')).toBe('mail_rejected');
      smtp.play();
      expect(await send('there@example.com')).toBe('sent');
    }
  });
});

describe('a server’s last words', () => {
  const linesOf = (message: RegExp) => email.logs.filter(({ msg }) => message.test(msg));

  test('stand in the dead letter and the log, without the recipient', async () => {
    email = await broker.email(smtp.url, { env: { RETRY_ATTEMPTS: '2' } });
    smtp.play({ rcpt: { kind: 'bytes', bytes: '452 4.2.2 mailbox of lovelace is full, ticket 12345\r\n' } });
    await broker.ask({ jobId: 'job_full', to: 'lovelace@example.com' });
    const { deadLetter } = await broker.ended('job_full');
    expect(deadLetter).toContain('2 attempts failed; a: 452 4.2.2 mailbox of [masked] is full, ticket 12345');
    expect(linesOf(/gave up/)).toMatchObject([
      { jobId: 'job_full', lastWords: 'a: 452 4.2.2 mailbox of [masked] is full, ticket 12345' },
    ]);
    expect(JSON.stringify(email.logs)).not.toContain('lovelace');
  });

  test.each([
    [
      'a login that is refused',
      'user:hunter22@',
      '',
      { auth: '535 5.7.8 key hunter22 was revoked' },
      /535 5\.7\.8 key \[masked\] was revoked/,
    ],
    ['a sender that is refused', '', '', { mail: '550 5.7.1 sender not allowed' }, /550 5\.7\.1 sender not allowed/],
    [
      'a refused STARTTLS',
      '',
      '?tls=required',
      { starttls: '502 5.5.1 not implemented' },
      /STARTTLS: 502 5\.5\.1 not implemented/,
    ],
  ] as const)('of %s stand there too, and say why its breaker opened', async (name, login, options, replies, words) => {
    email = await broker.email(`${smtp.url.replace('//', `//${login}`)}${options}`, {
      env: { HOLD_MS: '200', RETRY_FOR_MS: '1500' },
      tuning: { ...fastBreaker, breaker: { minAttempts: 1, window: 2, probeAfterMs: 60_000 } },
    });
    smtp.play(
      Object.fromEntries(Object.entries(replies).map(([at, text]) => [at, { kind: 'bytes', bytes: `${text}\r\n` }])),
    );
    const jobId = `job_${name.replaceAll(' ', '_')}`;
    await broker.ask({ jobId, to: 'x@example.com' });
    expect((await broker.ended(jobId)).deadLetter).toMatch(words);
    expect(linesOf(/left alone/)[0]).toMatchObject({ provider: 'a', cause: expect.stringMatching(words) as string });
    expect(JSON.stringify(email.logs)).not.toContain('hunter22');
  });
});

describe('one destination domain in trouble', () => {
  const ask = async (domain: string, count: number): Promise<string[]> => {
    const jobs = Array.from({ length: count }, (_, n) => `job_${domain.replaceAll('.', '_')}_${n}`);
    for (const jobId of jobs) await broker.ask({ jobId, to: `${jobId}@${domain}` });
    return jobs;
  };

  test.each([
    ['hangs', { kind: 'hang' }],
    ['refuses by policy', { kind: 'bytes', bytes: '421 4.7.0 too many sessions for this domain\r\n' }],
  ] as const)('%s: mail to others goes on, and no slot is kept for the held mail', async (name, action) => {
    email = await broker.email(smtp.url, {
      // Two failures would end a mail, if waiting counted as one.
      env: { CONCURRENCY: '4', RETRY_ATTEMPTS: '2' },
      tuning: { ...shortTimeouts, breaker: { minAttempts: 3, probeAfterMs: 200, probeAtMostMs: 1_000 } },
    });
    const [bad, good] = [`bad-${name.replaceAll(' ', '-')}.example`, `good-${name.replaceAll(' ', '-')}.example`];
    smtp.play({ domains: { [bad]: action } });
    const held = await ask(bad, 30);
    const others = await ask(good, 60);
    const ends = await Promise.all(others.map((jobId) => broker.ended(jobId)));
    expect(ends.every(({ result }) => result?.outcome.case === 'succeeded')).toBe(true);
    expect(smtp.mails.some(({ to }) => to[0]?.endsWith(`@${bad}`))).toBe(false);
    expect(email.service.ready()).toEqual([]);
    expect(email.logs.filter(({ domain }) => domain === bad)).toHaveLength(1);

    smtp.play();
    const later = await Promise.all(held.map((jobId) => broker.ended(jobId)));
    expect(later.every(({ result }) => result?.outcome.case === 'succeeded')).toBe(true);
    expect(smtp.mails.filter(({ to }) => to[0]?.endsWith(`@${bad}`))).toHaveLength(30);
  });
});
