// What a caller could put into a request to reach another recipient, a header, a file or a network. Each goes the whole way:
// through the queue, the service and a real SMTP session. The server must have seen the one intended recipient, or none.
import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import PostalMime from 'postal-mime';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBroker, type Broker, type EmailProcess } from './email-run.ts';

let broker: Broker;
let smtp: ScriptedSmtp;
let email: EmailProcess;
let trap: Server;
let fetched = 0;
beforeAll(async () => {
  trap = createServer((_, response) => {
    fetched += 1;
    response.end('secret');
  });
  await new Promise<void>((resolve) => {
    trap.listen(0, '127.0.0.1', resolve);
  });
  [broker, smtp] = await Promise.all([startBroker(), startScriptedSmtp()]);
  email = await broker.email(smtp.url);
});
afterAll(async () => {
  await email?.stop();
  await Promise.all([smtp?.close(), broker?.close()]);
  trap?.close();
});

let serial = 0;
/** Sends one request through everything and says how it ended and what the server saw of it. */
async function send(asked: { to: string; template?: string; variables?: Record<string, string> }) {
  serial += 1;
  const jobId = `job_inject_${serial}`;
  const before = smtp.mails.length;
  await broker.ask({ jobId, ...asked });
  const { result } = await broker.ended(jobId);
  const seen = smtp.mails.slice(before);
  return { outcome: result?.outcome, seen };
}

describe('a hostile recipient', () => {
  test.each([
    ['CRLF and a Bcc header', 'b@example.com\r\nBcc: evil@example.com'],
    ['LF and a To header', 'b@example.com\nTo: evil@example.com'],
    ['CR alone', 'b@example.com\rBcc: evil@example.com'],
    ['a list', 'a@example.com, evil@example.com'],
    ['a list without a space', 'a@example.com,evil@example.com'],
    ['a list by semicolon', 'a@example.com;evil@example.com'],
    ['a group', 'friends: a@example.com, evil@example.com;'],
    ['a display name that is an address', '"a@example.com" <evil@example.com>'],
    ['an address in a comment', 'a@example.com (evil@example.com)'],
    ['a quoted local part with a comma', '"a,evil@example.com"@example.com'],
    ['a quoted local part with a bracket', '"a@example.com> NOTIFY=SUCCESS <evil"@example.com'],
    ['a second RCPT', 'a@example.com>\r\nRCPT TO:<evil@example.com'],
    ['an SMTP parameter', 'a@example.com> ORCPT=rfc822;evil@example.com'],
    ['a dot-stuffed end of data', 'a@example.com\r\n.\r\nMAIL FROM:<evil@example.com>'],
    ['a source route', '@evil.example:a@example.com'],
    ['a percent route', 'a%evil.example@example.com'],
    ['an encoded word', '=?utf-8?q?evil=40example.com?= <a@example.com>'],
    ['a full-width comma', 'a@example.com\uff0cevil@example.com'],
    ['a NUL', 'a@example.com\0evil@example.com'],
    ['a domain literal', 'root@[127.0.0.1]'],
    ['the local host', 'root@localhost'],
    ['a URL', 'mailto:evil@example.com'],
    ['a path', '/etc/passwd'],
    ['an object in JSON', '{"path":"/etc/passwd"}'],
  ])('with %s reaches no recipient', async (_, to) => {
    const { outcome, seen } = await send({ to });
    expect(seen).toEqual([]);
    expect(outcome).toMatchObject({ case: 'failed', value: { code: 'invalid_address' } });
  });
});

const hostile: readonly (readonly [string, string])[] = [
  ['CRLF and a Bcc header', 'Hi\r\nBcc: evil@example.com\r\n\r\nbody'],
  ['LF and a header', 'Hi\nX-Evil: 1'],
  ['a vertical tab and a form feed', 'Hi\u000bBcc: evil@example.com\u000c'],
  ['a Unicode line separator', 'Hi\u2028Bcc: evil@example.com'],
  ['a next-line control', 'Hi\u0085Bcc: evil@example.com'],
  ['an encoded word', '=?utf-8?q?Hi=0D=0ABcc:_evil=40example.com?='],
  ['an end of data', 'Hi\r\n.\r\nRCPT TO:<evil@example.com>\r\n'],
  ['a MIME boundary', '\r\n----_NmP-1\r\nContent-Type: text/html\r\n\r\n<b>evil</b>'],
  ['a tag', '<script>alert(1)</script><img src="http://127.0.0.1:TRAP/x" onerror=alert(1)>'],
  ['an attribute', '" onmouseover="alert(1)" style="background:url(http://127.0.0.1:TRAP/x)'],
  ['template syntax', '{{message}}{{#if name}}{{{name}}}{{/if}}<%= process.env %>${process.env.HOME}'],
  ['an MSO comment', '<!--[if mso]><xml><script/></xml><![endif]-->'],
  ['a style', '</style><style>body{display:none}</style>'],
  ['a right-to-left override', 'invoice\u202efdp.exe'],
];

describe('a hostile variable', () => {
  test.each(hostile)('with %s stays text in one mail to one recipient', async (_, raw) => {
    const text = raw.replace('TRAP', String((trap.address() as AddressInfo).port));
    const to = `victim.${serial}@example.com`;
    const { outcome, seen } = await send({
      to,
      template: 'notification',
      variables: { title: text, message: text, name: text },
    });
    expect(outcome?.case).toBe('succeeded');
    expect(seen.map(({ from, to }) => ({ from, to }))).toEqual([{ from: 'no-reply@sluice.example', to: [to] }]);

    const mail = await PostalMime.parse(seen[0]?.data ?? '');
    const names = mail.headers.map(({ key }) => key).sort();
    expect(names).toEqual([
      'auto-submitted',
      'content-type',
      'date',
      'from',
      'message-id',
      'mime-version',
      'subject',
      'to',
      'x-auto-response-suppress',
    ]);
    expect(mail.to).toEqual([{ address: to, name: '' }]);
    expect(mail.subject).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
    expect(mail.attachments).toHaveLength(1);
    expect(mail.html?.match(/<script|<img|<style|onmouseover="|<b>/gi)).toEqual(
      (await plainMail()).match(/<script|<img|<style|onmouseover="|<b>/gi),
    );
  });

  /** The same template with nothing hostile in it: what tags it has of its own. */
  async function plainMail(): Promise<string> {
    const { seen } = await send({
      to: 'plain@example.com',
      template: 'notification',
      variables: { title: 'x', message: 'x', name: 'x' },
    });
    return (await PostalMime.parse(seen[0]?.data ?? '')).html ?? '';
  }

  test.each([
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html;base64,PHNjcmlwdD4=',
    'file:///etc/passwd',
    'https://user:pass@evil.example/',
    '//evil.example',
    'cid:logo@sluice',
    'vbscript:x',
  ])('that is the link %s is refused', async (actionUrl) => {
    const { outcome, seen } = await send({ to: 'x@example.com', variables: { name: 'x', actionUrl } });
    expect(outcome).toMatchObject({ case: 'failed', value: { code: 'invalid_variables' } });
    expect(seen).toEqual([]);
  });

  test('that names a header, a file or an URL of the mail library changes nothing', async () => {
    const port = String((trap.address() as AddressInfo).port);
    const { seen } = await send({
      to: 'only@example.com',
      variables: {
        name: 'x',
        cc: 'evil@example.com',
        bcc: 'evil@example.com',
        replyTo: 'evil@example.com',
        raw: 'Subject: evil',
        envelope: 'evil@example.com',
        attachments: '[{"path":"/etc/passwd"}]',
        href: `http://127.0.0.1:${port}/x`,
        path: '/etc/passwd',
        html: '<script>',
        __proto__: 'x',
      },
    });
    expect(seen.map(({ to }) => to)).toEqual([['only@example.com']]);
    expect(seen[0]?.data).not.toMatch(/evil|passwd|root:/);
  });

  test('has never made the service fetch anything', () => expect(fetched).toBe(0));
});
