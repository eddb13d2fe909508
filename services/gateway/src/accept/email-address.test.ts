import { describe, expect, test } from 'vitest';
import { bareAddress } from './email-address.ts';

describe('a recipient', () => {
  test.each([
    ['ada@example.com', 'ada@example.com'],
    ['Ada.Lovelace+x@Example.COM', 'Ada.Lovelace+x@example.com'],
    ["o'hara@sub.example.org", "o'hara@sub.example.org"],
    ['ada@bücher.example', 'ada@xn--bcher-kva.example'],
  ])('%j is one bare address', (given, taken) => {
    expect(bareAddress(given)).toBe(taken);
  });

  // What mail libraries turn into other, or more, recipients than the one that was checked.
  test.each([
    '',
    '@',
    'ada',
    'ada@',
    '@example.com',
    'ada@localhost',
    'ada@example',
    'ada@127.0.0.1',
    'ada@[127.0.0.1]',
    'b@x.com\r\nBcc: evil@y.com',
    'a@x.com,b@y.com',
    'a@x.com;b@y.com',
    'group: a@x.com;',
    'Ada <ada@example.com>',
    '<ada@example.com>',
    '"quoted part"@example.com',
    'a@b@example.com',
    'ada@exa mple.com',
    'ada.@example.com',
    '.ada@example.com',
    'a..b@example.com',
    'ada@-example.com',
    'ada@example.com.',
    'ada@example..com',
    'ada@ex_ample.com',
    'ada%evil.example@example.com',
    'evil.example!ada@example.com',
    'ada(comment)@example.com',
    'ada\0@example.com',
    'ada@example.com\n',
    `${'a'.repeat(65)}@example.com`,
    `ada@${'a'.repeat(64)}.com`,
    `ada@${'a.'.repeat(130)}com`,
    'аda@example.com',
    'ada@example.com%0d%0aBcc:x@y.z',
    'ada@%65xample.com',
    'ada@example.com/x',
    'ada@example.com#x',
    'ada@user:pw@example.com',
  ])('%j is not', (given) => {
    expect(bareAddress(given)).toBeUndefined();
  });
});
