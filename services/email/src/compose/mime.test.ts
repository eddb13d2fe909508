import * as fc from 'fast-check';
import PostalMime from 'postal-mime';
import { describe, expect, test } from 'vitest';
import { composeMail, type MailInput } from './compose-mail.ts';
import { renderTemplate } from '../templates/catalogue.ts';
import { shippedTemplate } from '../templates/mail-template.ts';

const sender = {
  name: 'Sluice',
  address: 'no-reply@sluice.example',
  messageIdDomain: 'sluice.example',
  links: { allowHttp: false },
};
const input = (variables: MailInput['variables'], more: Partial<MailInput> = {}): MailInput => ({
  jobId: 'job_1',
  replays: 0,
  recipients: { to: 'ada@example.com', cc: [], bcc: [] },
  template: shippedTemplate('notification'),
  variables,
  ...more,
});
const normal = (text: string | undefined): string => (text ?? '').replaceAll('\r\n', '\n').trimEnd();

describe('a mail on the wire', () => {
  test('reads as the template was rendered, for any values', async () => {
    const anything = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }).filter((text) => /[!-~]/.test(text));
    await fc.assert(
      fc.asyncProperty(anything, anything, async (title, message) => {
        const variables = { title: title.slice(0, 100), message, actionUrl: 'https://a.example/?q=1&r=é' };
        const rendered = renderTemplate('notification', variables);
        const mail = await PostalMime.parse((await composeMail(input(variables), sender)).raw);
        expect(normal(mail.html)).toBe(normal(rendered.html));
        expect(normal(mail.text)).toBe(normal(rendered.text));
        expect(mail.subject).toBe(rendered.subject);
      }),
      { numRuns: 100 },
    );
  });

  test('is ASCII in lines that any server takes, ended by CRLF', async () => {
    const long = `${'ü'.repeat(300)} ${'x'.repeat(2_000)} .\n.\n..`;
    const variables = { title: long.slice(0, 140), message: long };
    const content = Buffer.alloc(10_000, 7);
    const attachment = { fileName: 'a.pdf', contentType: 'application/pdf', content };
    const raw = (await composeMail(input(variables, { attachments: [attachment] }), sender)).raw.toString('latin1');
    expect(raw).toMatch(/^[\r\n\t -~]*$/);
    expect(raw.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(Math.max(...raw.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(78);
    // A soft break joins a line to the next; the last line of a part has none.
    const quoted = raw.split(/--=_\w+/).filter((part) => part.includes('quoted-printable'));
    expect(quoted).toHaveLength(2);
    for (const part of quoted) expect(part).not.toMatch(/=(\r\n)+$/);
  });

  test('has no header line of nothing but spaces, which some readers take for the end of the headers', async () => {
    const spaced = (text: string): string => `a${' '.repeat(90)}${text}`;
    const attachment = {
      fileName: `${'b '.repeat(47)}c.pdf`,
      contentType: 'application/pdf',
      content: Buffer.alloc(1),
    };
    for (const title of [spaced('b'), spaced('é'), `${'x '.repeat(60)}y`]) {
      const headers = { 'X-Campaign': 'x '.repeat(249).trim(), References: 'y'.repeat(500) };
      const { raw } = await composeMail(input({ title, message: 'x' }, { headers, attachments: [attachment] }), sender);
      const parts = raw.toString('latin1').split('\r\n\r\n');
      for (const line of parts.filter((part) => /^[\w-]+: /.test(part)).flatMap((part) => part.split('\r\n'))) {
        expect(line.trim()).not.toBe('');
      }
    }
  });

  test('holds its parts as a mail program looks for them', async () => {
    const attachment = { fileName: 'job_1.pdf', contentType: 'application/pdf', content: Buffer.from('%PDF-1.7') };
    const { raw } = await composeMail(input({ message: 'x' }, { attachments: [attachment] }), sender);
    const types = [...raw.toString('latin1').matchAll(/^Content-Type: ([^;\r]+)/gm)].map(([, type]) => type);
    expect(types).toEqual([
      'multipart/mixed',
      'multipart/alternative',
      'text/plain',
      'multipart/related',
      'text/html',
      'image/png',
      'application/pdf',
    ]);
    const mail = await PostalMime.parse(raw);
    expect(mail.attachments.map(({ filename, disposition }) => [filename, disposition])).toEqual([
      ['logo.png', 'inline'],
      ['job_1.pdf', 'attachment'],
    ]);
    expect(Buffer.from(mail.attachments[1]?.content as ArrayBuffer).toString()).toBe('%PDF-1.7');
  });

  test('is the same mail every time, up to its date', async () => {
    const write = async (): Promise<string> => {
      const { raw } = await composeMail(input({ message: 'x' }), sender);
      return raw.toString('latin1').replace(/^Date: .*$/m, '');
    };
    expect(await write()).toBe(await write());
  });
});
