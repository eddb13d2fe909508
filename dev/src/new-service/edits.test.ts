import { describe, expect, test } from 'vitest';
import { AnchorError, applyEdit } from './edits.ts';
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

describe('the name of a service', () => {
  test('is spelled for types and streams', () => {
    expect(kindNames('sms', [])).toEqual({ name: 'sms', type: 'Sms', upper: 'SMS' });
  });

  test.each(['', 'S', 'Sms', 'sms-gateway', '1a', 'a'.repeat(17), 'gateway', 'image'])('%j is refused', (name) => {
    expect(() => kindNames(name, ['image'])).toThrow(RangeError);
  });
});
