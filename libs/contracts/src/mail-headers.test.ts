import { describe, expect, test } from 'vitest';
import { mailHeaderProblem } from './mail-headers.ts';

describe('a header of a caller', () => {
  test.each(['X-Campaign', 'x-entity-ref-id', 'In-Reply-To', 'References', 'Feedback-ID'])('%s may stand', (name) =>
    expect(mailHeaderProblem(name, 'abc:1')).toBeUndefined(),
  );

  const refused =
    'Bcc,Cc,To,From,Sender,Reply-To,Subject,Date,Message-ID,Return-Path,Received,DKIM-Signature,Content-Type,' +
    'MIME-Version,List-Unsubscribe,List-Unsubscribe-Post,Resent-To,Auto-Submitted,X-Auto-Response-Suppress,' +
    'X-Spam-Flag,X-Original-To,X-Priority,,X-,X-a b,X-a:b,X-a\r\nBcc,X-ü,__proto__';
  test.each(refused.split(','))('%j is refused', (name) => expect(mailHeaderProblem(name, 'x')).toBeDefined());

  test.each(['', 'a\r\nBcc: b@example.com', 'a\nb', 'a\0', 'ü', '=?utf-8?q?x?=', 'x'.repeat(501)])(
    'with the value %j is refused',
    (value) => expect(mailHeaderProblem('X-Campaign', value)).toBeDefined(),
  );
});
