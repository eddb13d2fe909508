import type { NodemailerError } from 'nodemailer';
import { describe, expect, test } from 'vitest';
import type { Awaited } from './smtp/reply-monitor.ts';
import { SessionFailure } from './smtp/session.ts';
import { faultOf, verdictOf, type Verdict } from './verdict.ts';

interface Failed {
  readonly command?: string;
  readonly reply?: string;
  readonly code?: string;
  readonly awaited?: Awaited;
  readonly endSent?: boolean;
  readonly to?: string;
}
function verdict({ command, reply, code = 'EENVELOPE', awaited, endSent = false, to }: Failed): Verdict {
  const error: NodemailerError = Object.assign(new Error('failed'), {
    code,
    ...(command === undefined ? {} : { command }),
    ...(reply === undefined ? {} : { response: reply, responseCode: Number(reply.slice(0, 3)) }),
  });
  return verdictOf(Object.assign(new SessionFailure(error, awaited), { endSent }), to);
}
const atRcpt = (reply: string, to?: string): Verdict =>
  verdict({ command: 'RCPT TO', reply, ...(to === undefined ? {} : { to }) });
const afterMail = (reply: string): Verdict => verdict({ command: 'DATA', code: 'EMESSAGE', reply, endSent: true });

describe('a reply to RCPT', () => {
  test.each([
    ['550 5.1.1 <x@example.com>: no such user', 'certain'],
    ['550-5.1.1 The email account that you tried to reach does not exist.', 'certain'],
    ['550 no such user', 'likely'],
    ['552 5.2.2 mailbox full', undefined],
    ['550 5.2.1 mailbox disabled', undefined],
  ])('of %s ends the mail; dead mailbox: %s', (reply, deadMailbox) => {
    const result = atRcpt(reply);
    expect(result).toMatchObject({ kind: 'rejected', code: 'mail_rejected' });
    expect('deadMailbox' in result ? result.deadMailbox : undefined).toBe(deadMailbox);
  });

  test.each([
    ['554 5.7.1 <x>: Relay access denied', 'provider'],
    ['530 5.7.0 Authentication required', 'provider'],
    ['550 Unauthenticated senders not allowed', 'provider'],
    ['550 5.4.5 Daily user sending limit exceeded.', 'provider'],
    ['550 5.7.1 blocked by policy', 'domain'],
    ['554 transaction failed', undefined],
  ])('of %s leaves the mail to the next provider; it speaks against the %s', (reply, fault) => {
    expect(atRcpt(reply)).toMatchObject({ kind: 'refused', fault });
  });

  test.each([
    ['550 5.7.1 <relay@example.com>: rejected by policy', 'relay@example.com'],
    ['550 5.7.1 <helo.authenticate@example.com>: rejected by policy', 'helo.authenticate@example.com'],
    ['550 5.7.1 relay: rejected by policy', 'relay@example.com'],
  ])('of %s is judged without the address that its caller chose', (reply, to) => {
    expect(atRcpt(reply, to)).toMatchObject({ kind: 'refused', fault: 'domain' });
  });

  test('keeps its code for a recipient who is called as the code is', () => {
    const reply = '550 5.1.1 <550@example.com>: no such user 550';
    expect(atRcpt(reply, '550@example.com')).toMatchObject({
      kind: 'rejected',
      deadMailbox: 'certain',
      reply: '550 5.1.1 <[address]>: no such user [masked]',
    });
  });

  test('of 500, 502, 503 or 504 is about the session and is tried again; 501 is about the address', () => {
    for (const status of [500, 502, 503, 504]) expect(atRcpt(`${status} what`).kind).toBe('deferred');
    expect(atRcpt('501 5.1.3 bad address').kind).toBe('rejected');
  });

  test('for now says nothing against the provider, but 421 does', () => {
    expect(faultOf(atRcpt('451 4.7.1 greylisted'))).toBeUndefined();
    expect(faultOf(atRcpt('421 closing'))).toBe('domain');
  });
});

describe('a reply to the mail itself', () => {
  test.each([
    ['550 5.1.1 no such user', { kind: 'rejected', deadMailbox: 'certain' }],
    ['552 5.3.4 too big', { kind: 'rejected', code: 'mail_too_large' }],
    ['554 5.7.1 looks like spam', { kind: 'rejected', code: 'mail_rejected' }],
    ['554 no', { kind: 'rejected', code: 'mail_rejected' }],
    ['550 5.4.5 Daily user sending limit exceeded.', { kind: 'refused', fault: 'provider' }],
    ['452 4.2.2 mailbox full', { kind: 'deferred', afterData: true }],
    ['500 5.5.1 unknown command', { kind: 'unknown' }],
    ['503 bad sequence', { kind: 'unknown' }],
  ])('of %s', (reply, expected) => expect(afterMail(reply)).toMatchObject(expected));
});

describe('a refusal before the recipient is named', () => {
  test('of a size is the mail’s, of anything else the provider’s', () => {
    expect(verdict({ command: 'MAIL FROM', reply: '552 5.3.4 too big' })).toMatchObject({ code: 'mail_too_large' });
    expect(verdict({ command: 'MAIL FROM', reply: '550 5.7.1 sender refused' })).toMatchObject({
      kind: 'unreachable',
      fault: 'provider',
    });
    expect(verdict({ command: 'AUTH PLAIN', reply: '535 5.7.8 no' })).toMatchObject({ fault: 'provider' });
  });
});

describe('a failure without a reply', () => {
  test('before the end of the mail proves that nothing was taken; after it, nothing', () => {
    expect(verdict({ command: 'CONN', code: 'ECONNECTION' }).kind).toBe('unreachable');
    expect(verdict({ command: 'CONN', code: 'ECONNECTION', endSent: true }).kind).toBe('unknown');
    expect(verdict({ code: 'EPROTOCOL' }).kind).toBe('unreachable');
    expect(verdict({ code: 'EPROTOCOL', endSent: true }).kind).toBe('unknown');
  });

  test('speaks against the provider up to MAIL, and against its way to the domain from RCPT on', () => {
    expect(faultOf(verdict({ code: 'ETIMEDOUT', awaited: 'greeting' }))).toBe('provider');
    expect(faultOf(verdict({ code: 'ETIMEDOUT', awaited: 'MAIL' }))).toBe('provider');
    expect(faultOf(verdict({ code: 'ETIMEDOUT', awaited: 'RCPT' }))).toBe('domain');
    expect(faultOf(verdict({ code: 'ETIMEDOUT', awaited: 'end of mail', endSent: true }))).toBe('domain');
  });

  test('of the library’s own is final: no provider will take what it will not send', () => {
    expect(verdict({ command: 'API' }).kind).toBe('rejected');
    expect(verdict({ command: 'MAIL FROM', code: 'EMESSAGE' })).toMatchObject({ code: 'mail_too_large' });
  });
});

describe('what a job is told', () => {
  test('is the server’s words on one line, of bounded length', () => {
    const { reply } = atRcpt(`550-5.1.1 no\r\n550 5.1.1 such\u0007 user ${'x'.repeat(1_000)}`);
    expect(reply).toMatch(/^550-5\.1\.1 no 550 5\.1\.1 such user x+$/);
    expect(reply).toHaveLength(300);
  });

  test('turns no text around it: servers may write UTF-8', () => {
    expect(atRcpt('550 5.7.1 see \u202egpj.exe\u2069 über').reply).toBe('550 5.7.1 see gpj.exe über');
  });
});
