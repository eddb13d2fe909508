import { expect, test } from 'vitest';
import { mailCopies, MAX_MAIL_COPIES, readRecipients } from './mail-recipients.ts';

const to = 'ada@example.com';

test('recipients are read as bare addresses, and copies counted cc first', () => {
  const read = readRecipients({ to, cc: ['bo@Example.com'], bcc: ['cy@bücher.example', 'di@example.com'] });
  expect(read).toEqual({ to, cc: ['bo@example.com'], bcc: ['cy@xn--bcher-kva.example', 'di@example.com'] });
  if ('place' in read) return;
  expect(mailCopies(read).map(({ place }) => place)).toEqual(['/cc/0', '/bcc/0', '/bcc/1']);
});

test.each([
  ['a list', { cc: ['a@example.com, b@example.com'] }, '/cc/0'],
  ['a header', { cc: ['bo@example.com'], bcc: ['c@example.com\r\nX-Evil: 1'] }, '/bcc/0'],
  ['the recipient itself in other case', { cc: ['bo@example.com', 'ADA@example.com'] }, '/cc/1'],
  ['one in cc and bcc', { cc: ['bo@example.com'], bcc: ['bo@example.com'] }, '/bcc/0'],
  ['too many', { cc: Array.from({ length: MAX_MAIL_COPIES + 1 }, (_, n) => `c${n}@example.com`) }, '/cc'],
  [
    'too many together',
    { cc: [to], bcc: Array.from({ length: MAX_MAIL_COPIES }, (_, n) => `c${n}@example.com`) },
    '/bcc',
  ],
])('%s is refused at its place', (_, copies, place) => {
  expect(readRecipients({ to, ...copies })).toMatchObject({ place });
});
