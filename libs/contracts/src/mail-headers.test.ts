import { describe, expect, test } from 'vitest';
import { mailHeadersProblem } from './mail-headers.ts';

describe('a header of a caller', () => {
  const allowed = 'X-Campaign,x-entity-ref-id,In-Reply-To,References,Feedback-ID,X-Custom-Order,x-custom-1';
  test.each(allowed.split(','))('%s may stand', (name) =>
    expect(mailHeadersProblem({ [name]: 'abc:1' })).toBe(undefined),
  );

  const refused =
    'Bcc,Cc,To,From,Sender,Reply-To,Subject,Date,Message-ID,Return-Path,Received,DKIM-Signature,Content-Type,' +
    'MIME-Version,List-Unsubscribe,List-Unsubscribe-Post,Resent-To,Auto-Submitted,X-Auto-Response-Suppress,' +
    'X-Spam-Flag,X-Original-To,X-Priority,,X-,X-a b,X-a:b,X-a\r\nBcc,X-ü,X-Custom-,X-Custom-a\r\nBcc';
  // Relays take recipients, senders and templates from these, and mail programs answer some of them.
  const actedOn =
    'X-SMTPAPI,X-MC-BccAddress,X-MC-PreserveRecipients,X-MSYS-API,X-SES-CONFIGURATION-SET,X-SES-SOURCE-ARN,' +
    'X-PM-Message-Stream,X-Mailgun-Recipient-Variables,X-MJ-TemplateID,X-Confirm-Reading-To,X-Unsent,X-Message-Flag,' +
    'X-MSMail-Priority,X-Failed-Recipients,X-Errors-To,X-Loop,X-Gm-Message-State,X-Microsoft-Antispam,X-Sluice-Report';
  test.each(`${refused},${actedOn}`.split(','))('%j is refused', (name) =>
    expect(mailHeadersProblem({ [name]: 'x' })?.name).toBe(name),
  );
  test('named like a part of every object is refused', () => {
    for (const name of ['__proto__', 'constructor', 'toString']) {
      expect(mailHeadersProblem(JSON.parse(`{"${name}":"x"}`) as Record<string, string>)?.name).toBe(name);
    }
  });

  test.each([
    '',
    'a\r\nBcc: b@example.com',
    'a\nb',
    'a\0',
    'ü',
    '=?utf-8?q?x?=',
    'x'.repeat(501),
    `a${' '.repeat(90)}Bcc: b@example.com`,
    'a  b',
    ' a',
    'a ',
    ' ',
  ])('with the value %j is refused', (value) => expect(mailHeadersProblem({ 'X-Campaign': value })).toBeDefined());

  test('may stand once, however it is written, beside nine others', () => {
    expect(mailHeadersProblem({ References: '<a@b.example>', references: '<c@d.example>' })).toMatchObject({
      name: 'references',
    });
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`X-Custom-${n}`, 'v']));
    expect(mailHeadersProblem(many(10))).toBeUndefined();
    expect(mailHeadersProblem(many(11))).toMatchObject({ name: undefined });
  });
});
