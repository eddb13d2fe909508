import { expect, test } from 'vitest';
import { maskWords } from './mask.ts';

test.each([
  ['550 5.1.1 <ada@example.com>: no such user', '550 5.1.1 <[address]>: no such user'],
  ['452 4.2.2 mailbox of ada is full, see Ada', '452 4.2.2 mailbox of [masked] is full, see [masked]'],
  ['535 key SG.secret was revoked', '535 key [masked] was revoked'],
  ['550 RCPT=ada@example.com;x', '550 RCPT=[address];x'],
  ['250 2.0.0 Canada', '250 2.0.0 Canada'],
])('%s is kept as %s', (words, masked) => expect(maskWords(words, ['ada', 'SG.secret', 'x'])).toBe(masked));

test('a megabyte without an end or an address is read once, not once for each of its letters', () => {
  const text = 'a.'.repeat(500_000);
  expect(maskWords(text, [])).toBe(text);
  expect(maskWords(`${text}@example.com`, [])).toMatch(/\[address\]$/);
});
