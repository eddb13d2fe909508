import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { AnchorError, applyEdit } from './edits.ts';
import { editsOf } from './edits-of.ts';
import { kindNames } from './names.ts';

describe('an edit', () => {
  const edit = { file: 'a.ts', at: 'B', insert: '-new-', where: 'before' } as const;

  test('inserts before or after the one place it names', () => {
    expect(applyEdit('aBc', edit)).toBe('a-new-Bc');
    expect(applyEdit('aBc', { ...edit, where: 'after' })).toBe('aB-new-c');
  });

  test.each(['ac', 'aBcB'])('of %j, where the place is missing or there twice, is refused', (text) => {
    expect(() => applyEdit(text, edit)).toThrow(AnchorError);
  });
});

test('every edit of a new service finds its place in the repository', () => {
  const root = join(import.meta.dirname, '../../..');
  const edits = editsOf({ name: 'letter', type: 'Letter', upper: 'LETTER' }, { kind: 99, request: 99, result: 99 });
  for (const edit of edits) expect(() => applyEdit(readFileSync(join(root, edit.file), 'utf8'), edit)).not.toThrow();
});

describe('the name of a service', () => {
  test('is spelled for types and streams', () => {
    expect(kindNames('sms', [])).toEqual({ name: 'sms', type: 'Sms', upper: 'SMS' });
  });

  test.each(['', 'S', 'Sms', 'sms-gateway', '1a', 'a'.repeat(17), 'gateway', 'image'])('%j is refused', (name) => {
    expect(() => kindNames(name, ['image'])).toThrow(RangeError);
  });
});
