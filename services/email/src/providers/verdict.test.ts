import type { NodemailerError } from 'nodemailer';
import { describe, expect, test } from 'vitest';
import { isProviderFault, verdictOf } from './verdict.ts';

const failure = (command: string | undefined, response?: string, code = 'EENVELOPE'): NodemailerError =>
  Object.assign(new Error('failed'), {
    code,
    ...(command === undefined ? {} : { command }),
    ...(response === undefined ? {} : { response, responseCode: Number(response.slice(0, 3)) }),
  });

describe('a reply to RCPT', () => {
  test.each([
    ['550 5.1.1 <x@example.com>: no such user', true],
    ['550 5.1.10 null MX', true],
    ['550-5.1.1 The email account that you tried to reach does not exist.', true],
    ['550 5.2.1 mailbox disabled', true],
    ['550 no such user', true],
    ['553 mailbox name not allowed', true],
    ['552 5.2.2 mailbox full', false],
    ['550 5.7.1 blocked by policy', false],
    ['554 transaction failed', false],
  ])('of %s refuses the mail; the address is dead: %s', (reply, deadAddress) => {
    expect(verdictOf(failure('RCPT TO', reply), false)).toMatchObject({ kind: 'rejected', deadAddress });
  });

  test('of 503 is about the session and is tried again', () => {
    expect(verdictOf(failure('RCPT TO', '503 bad sequence'), false).kind).toBe('deferred');
  });

  test('counts against the provider only when it ends the session', () => {
    expect(isProviderFault(verdictOf(failure('RCPT TO', '451 4.7.1 greylisted'), false))).toBe(false);
    expect(isProviderFault(verdictOf(failure('RCPT TO', '550 5.1.1 unknown'), false))).toBe(false);
    expect(isProviderFault(verdictOf(failure('RCPT TO', '421 closing'), false))).toBe(true);
  });
});

describe('a failure without a reply', () => {
  test('before the end of the mail proves that nothing was taken; after it, nothing', () => {
    const cut = failure('CONN', undefined, 'ECONNECTION');
    expect(verdictOf(cut, false).kind).toBe('unreachable');
    expect(verdictOf(cut, true).kind).toBe('unknown');
  });

  test('of the library’s own is final: no provider will take what it will not send', () => {
    expect(verdictOf(failure('API', undefined, 'EENVELOPE'), false).kind).toBe('rejected');
  });
});

describe('what a job is told', () => {
  test('is the server’s words on one line, of bounded length', () => {
    const { reply } = verdictOf(
      failure('RCPT TO', `550-5.1.1 no\r\n550 5.1.1 such\u0007 user ${'x'.repeat(1_000)}`),
      false,
    );
    expect(reply).toMatch(/^550-5\.1\.1 no 550 5\.1\.1 such user x+$/);
    expect(reply).toHaveLength(300);
  });
});
