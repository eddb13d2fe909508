import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseEmailAddress } from './email-address.ts';

describe('a recipient', () => {
  test.each([
    ['ada@example.com', 'ada@example.com'],
    ['Ada.Lovelace+news@Mail.Example.COM', 'Ada.Lovelace+news@mail.example.com'],
    ["o'brien@example.org", "o'brien@example.org"],
    ["o'hara@sub.example.org", "o'hara@sub.example.org"],
    ['x@xn--bcher-kva.example', 'x@xn--bcher-kva.example'],
    ['ada@bücher.example', 'ada@xn--bcher-kva.example'],
    ['jürgen.müller@example.com', 'jürgen.müller@example.com'],
    ['ju\u0308rgen@example.com', 'jürgen@example.com'],
    ['用户@例え.example', '用户@xn--r8jz45g.example'],
    ['почта@example.com', 'почта@example.com'],
    ['संपर्क@example.com', 'संपर्क@example.com'],
  ])('%s is one bare address', (given, expected) => expect(parseEmailAddress(given)).toBe(expected));

  test.each([
    ['a second header', 'b@example.com\r\nBcc: evil@example.com'],
    ['a bare line feed', 'b@example.com\nBcc: evil@example.com'],
    ['a NUL', 'b@example.com\0'],
    ['a list', 'a@example.com,b@example.com'],
    ['a list with semicolons', 'a@example.com;b@example.com'],
    ['a group', 'friends:a@example.com,b@example.com;'],
    ['a display name', 'Ada <ada@example.com>'],
    ['angle brackets', '<ada@example.com>'],
    ['a comment', 'ada(evil@example.com)@example.com'],
    ['a quoted local part', '"a@b,c"@example.com'],
    ['a quoted local part with a route', '"<evil@example.com>"@example.com'],
    ['an address literal', 'ada@[127.0.0.1]'],
    ['a source route', '@relay.example:ada@example.com'],
    ['two at signs', 'ada@example.com@evil.example'],
    ['a percent route', 'ada%evil.example@example.com'],
    ['a bang path', 'evil.example!ada@example.com'],
    ['an SMTP parameter', 'ada@example.com NOTIFY=SUCCESS'],
    ['a leading dot', '.ada@example.com'],
    ['a double dot', 'a..b@example.com'],
    ['a single label', 'root@localhost'],
    ['a numeric top level', 'ada@10.0.0.1'],
    ['a label that begins with a dash', 'ada@-example.com'],
    ['a trailing dot', 'ada@example.com.'],
    ['white space', ' ada@example.com'],
    ['letters of two scripts that look alike', 'аda@example.com'],
    ['full-width letters', 'ａda@example.com'],
    ['a ligature', 'oﬃce@example.com'],
    ['a zero-width space', 'a\u200bda@example.com'],
    ['a right-to-left override', 'a\u202eda@example.com'],
    ['a no-break space', 'a\u00a0da@example.com'],
    ['a line separator', 'a\u2028da@example.com'],
    ['a soft hyphen', 'a\u00adda@example.com'],
    ['a mark with no letter', '\u0301ada@example.com'],
    ['a full-width comma', 'ада，b@example.com'],
    ['a full-width at sign', 'ada＠evil.example@example.com'],
    ['a lone surrogate', 'a\ud800da@example.com'],
    ['a picture', '😀@example.com'],
    ['a local part of 65 octets', `${'ü'.repeat(32)}a@example.com`],
    ['a top level alone', 'ada@example'],
    ['a space in the domain', 'ada@exa mple.com'],
    ['a trailing dot in the local part', 'ada.@example.com'],
    ['an empty label', 'ada@example..com'],
    ['an underscore in the domain', 'ada@ex_ample.com'],
    ['an escape', 'ada@example.com%0d%0aBcc:x@y.z'],
    ['an escaped letter', 'ada@%65xample.com'],
    ['a path', 'ada@example.com/x'],
    ['a fragment', 'ada@example.com#x'],
    ['a login', 'ada@user:pw@example.com'],
    ['a label that is too long', `ada@${'a'.repeat(64)}.com`],
    ['a full-width at sign', 'ada\uff20example.com'],
    ['an URL', 'https://example.com/@ada'],
    ['a file', '/etc/passwd'],
    // RFC 2047 section 5 (3): an encoded word must not appear in an addr-spec. Parsers that decode it all the same
    // deliver to the decoded mailbox, which suppression and quotas know under another name.
    ['an encoded word', '=?utf-8?q?x?=@example.com'],
    ['an encoded word that hides an address', '=?utf-8?b?dmljdGltQG90aGVyLm9yZw==?=@example.com'],
    ['an encoded word after a dot', 'ada.=?utf-8?q?x?=@example.com'],
    ['the beginning of an encoded word', 'ada=?utf-8@example.com'],
    ['the end of an encoded word', 'ada?=@example.com'],
    ['nothing', ''],
    ['no local part', '@example.com'],
    ['a local part that is too long', `${'a'.repeat(65)}@example.com`],
    ['an address that is too long', `a@${'a.'.repeat(130)}com`],
  ])('with %s is refused', (_, given) => expect(parseEmailAddress(given)).toBeUndefined());

  test('holds exactly one @ and no character a header or a list could use, for any input', () => {
    const hostile = fc.string({ unit: fc.constantFrom(...Array.from('ab.@,;:<>"()[]\\\r\n\t \0é')), maxLength: 40 });
    fc.assert(
      fc.property(fc.oneof(hostile, fc.emailAddress(), fc.string({ unit: 'binary' })), (given) => {
        const address = parseEmailAddress(given);
        if (address === undefined) return;
        expect(address).toMatch(/^[^\s\p{C}]+@[a-z0-9.-]+$/u);
        expect(address).not.toMatch(/[\s,;:<>"()[\]\\]|@.*@/);
        // What goes over the queue is read again behind it.
        expect(parseEmailAddress(address)).toBe(address);
      }),
    );
  });
});
