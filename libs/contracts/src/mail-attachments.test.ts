import { describe, expect, test } from 'vitest';
import { attachmentNameProblem } from './mail-attachments.ts';

describe('the name of an attachment', () => {
  test.each(['invoice.pdf', 'Rechnung März.PDF', '請求書.pdf', 'a b (1).pdf'])('%s is taken', (name) =>
    expect(attachmentNameProblem(name, 'application/pdf')).toBeUndefined(),
  );

  test.each([
    '',
    'invoice',
    'invoice.pdf.exe',
    '../invoice.pdf',
    'a\r\nBcc: x@example.com.pdf',
    'invoice\u202efdp.pdf',
    'a"b.pdf',
    `invoice.txt${' '.repeat(60)}.pdf`,
    ' invoice.pdf',
    'invoice\u2028.pdf',
    'invoice\u3164.pdf',
    `${'x'.repeat(100)}.pdf`,
  ])('%j is refused', (name) => expect(attachmentNameProblem(name, 'application/pdf')).toBeDefined());
});
