import { createHash, createPublicKey, createVerify, generateKeyPairSync } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { relaxedBodyHash, signMail } from './dkim.ts';

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
const key = {
  domainName: 'sluice.example',
  keySelector: 'mail',
  privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
};
const head =
  'From: <a@sluice.example>\r\nTo: <b@example.com>\r\nSubject: =?utf-8?q?x?=\r\n  y\r\nDate: today\r\nX-Own: 1';
const mail = (more = '', body = 'Hello,\r\n\r\n you  there\t \r\n\r\n'): Buffer =>
  Buffer.from(`${head}${more}\r\n\r\n${body}`, 'latin1');

/** RFC 6376 3.4.4, as its words are. */
const relaxed = (body: string): string => {
  const lines = body.replace(/[ \t]+/g, ' ').replace(/ (\r\n|$)/g, '$1');
  const whole = lines.replace(/(\r\n)*$/, '');
  return whole === '' ? '' : `${whole}\r\n`;
};

/** RFC 6376 6.1: names from the left, headers from the bottom; a name without a header signs nothing. */
function verifies(raw: string): boolean {
  const at = raw.indexOf('\r\n\r\n');
  const fields = raw.slice(0, at).split(/\r\n(?![ \t])/);
  const nameOf = (field: string): string => field.slice(0, field.indexOf(':')).toLowerCase();
  const canonical = (field: string): string =>
    `${nameOf(field)}:${field
      .slice(field.indexOf(':') + 1)
      .replaceAll('\r\n', '')
      .replace(/[ \t]+/g, ' ')
      .trim()}`;
  const own = fields.find((field) => nameOf(field) === 'dkim-signature') ?? '';
  const tag = (name: string): string => (new RegExp(`[;\\s]${name}=([^;]*)`).exec(own)?.[1] ?? '').replace(/\s/g, '');
  const left = fields.filter((field) => field !== own);
  const signed = tag('h')
    .split(':')
    .flatMap((name) => {
      const last = left.findLastIndex((field) => nameOf(field) === name.toLowerCase());
      return last < 0 ? [] : left.splice(last, 1).map(canonical);
    });
  const unsigned = canonical(own.replace(/([;\s]b=)[^;]*$/, '$1'));
  const hash = createHash('sha256')
    .update(relaxed(raw.slice(at + 4)), 'latin1')
    .digest('base64');
  const check = createVerify('sha256').update([...signed, unsigned].join('\r\n'), 'latin1');
  return hash === tag('bh') && check.verify(createPublicKey(privateKey), tag('b'), 'base64');
}

describe('a signature', () => {
  test('verifies, and no longer once a header or the body is another', async () => {
    const signed = (await signMail(mail(), key)).toString('latin1');
    expect(verifies(signed)).toBe(true);
    expect(verifies(signed.replace('Date: today', 'Date: tomorrow'))).toBe(false);
    expect(verifies(`${signed}x`)).toBe(false);
    expect(verifies(signed.replace('X-Own: 1', 'X-Own: 2'))).toBe(true);
    expect(Math.max(...signed.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(78);
  });

  test.each(['From', 'Reply-To', 'To', 'Cc', 'Subject', 'Content-Type', 'Content-Transfer-Encoding', 'MIME-Version'])(
    'breaks when a %s is added, above or below',
    async (name) => {
      const signed = (await signMail(mail(), key)).toString('latin1');
      expect(verifies(`${name}: other\r\n${signed}`)).toBe(false);
      expect(verifies(signed.replace('X-Own: 1', `X-Own: 1\r\n${name}: other`))).toBe(false);
    },
  );

  test('holds the list headers of a mail that has them, and lets forwarders add theirs to one that has none', async () => {
    const list = '\r\nList-Unsubscribe: <https://a.example>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click';
    const recurring = (await signMail(mail(list), key)).toString('latin1');
    expect(verifies(recurring)).toBe(true);
    expect(verifies(`List-Unsubscribe: <https://evil.example>\r\n${recurring}`)).toBe(false);
    expect(verifies(recurring.replace('One-Click', 'One-Clock'))).toBe(false);
    const single = (await signMail(mail(), key)).toString('latin1');
    expect(verifies(`List-Unsubscribe: <https://list.example>\r\nSender: <list@list.example>\r\n${single}`)).toBe(true);
  });
});

test('the hash of a body is the one of RFC 6376, for any white space', () => {
  const piece = fc.constantFrom(' ', '\t', '\r\n', 'a', '=', 'bb');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const body = pieces.join('');
      const expected = createHash('sha256').update(relaxed(body), 'latin1').digest('base64');
      expect(relaxedBodyHash(Buffer.from(body, 'latin1'))).toBe(expected);
    }),
    { numRuns: 2_000 },
  );
});
