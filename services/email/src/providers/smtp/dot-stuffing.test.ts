import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { dotStuffed } from './dot-stuffing.ts';

/** RFC 5321 4.5.2, as its words are. */
const byLine = (mail: string): string => mail.replace(/(^|\r\n)\./g, '$1..');

test('dots at the beginning of lines are doubled, and nothing else changes', () => {
  const piece = fc.constantFrom('.', '..', '\r\n', 'a', ' ');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const mail = `${pieces.join('')}\r\n`;
      expect(Buffer.concat(dotStuffed(Buffer.from(mail)) ?? []).toString()).toBe(byLine(mail));
    }),
    { numRuns: 2_000 },
  );
});

test.each(['a\rb\r\n', 'a\nb\r\n', 'a\r\n.\n', 'a\r\n.\r\r\n', '\n', '\r', 'a', 'a\r\nb', 'a\r'])(
  '%j has other line ends, which the library turns into CRLF',
  (mail) => expect(dotStuffed(Buffer.from(mail))).toBeUndefined(),
);
