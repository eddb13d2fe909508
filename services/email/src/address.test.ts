import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAddress } from './address.ts';

describe('a recipient', () => {
  test.each([
    ['ada@example.com', 'ada@example.com'],
    ['Ada.Lovelace+news@Mail.Example.COM', 'Ada.Lovelace+news@mail.example.com'],
    ["o'brien@example.org", "o'brien@example.org"],
    ['x@xn--bcher-kva.example', 'x@xn--bcher-kva.example'],
  ])('%s is one bare address', (given, expected) => expect(parseAddress(given)).toBe(expected));

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
    ['letters outside ASCII', 'ada@exämple.com'],
    ['a full-width at sign', 'ada\uff20example.com'],
    ['an URL', 'https://example.com/@ada'],
    ['a file', '/etc/passwd'],
    ['nothing', ''],
    ['no local part', '@example.com'],
    ['a local part that is too long', `${'a'.repeat(65)}@example.com`],
    ['an address that is too long', `a@${'a.'.repeat(130)}com`],
  ])('with %s is refused', (_, given) => expect(parseAddress(given)).toBeUndefined());

  test('holds exactly one @ and no character a header or a list could use, whatever came in', () => {
    const hostile = fc.string({ unit: fc.constantFrom(...Array.from('ab.@,;:<>"()[]\\\r\n\t \0é')), maxLength: 40 });
    fc.assert(
      fc.property(fc.oneof(hostile, fc.emailAddress(), fc.string({ unit: 'binary' })), (given) => {
        const address = parseAddress(given);
        if (address !== undefined) expect(address).toMatch(/^[!-~]+@[a-z0-9.-]+$/);
        if (address !== undefined) expect(address).not.toMatch(/[\s,;:<>"()[\]\\]|@.*@/);
      }),
    );
  });
});
