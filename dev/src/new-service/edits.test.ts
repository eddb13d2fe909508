import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { AnchorError, applyEdit } from './edits.ts';
import { editsOf, USERS_CONF } from './edits-of.ts';
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
  const numbers = { kind: 99, request: 99, result: 99 };
  const usersConf = readFileSync(join(root, USERS_CONF), 'utf8');
  const edits = editsOf({ name: 'letter', type: 'Letter', upper: 'LETTER' }, numbers, usersConf);
  for (const edit of edits) expect(() => applyEdit(readFileSync(join(root, edit.file), 'utf8'), edit)).not.toThrow();
});

test('a new service may do on the broker what the others may, with its own streams', () => {
  const usersConf = readFileSync(join(import.meta.dirname, '../../..', USERS_CONF), 'utf8');
  const numbers = { kind: 99, request: 99, result: 99 };
  const edits = editsOf({ name: 'letter', type: 'Letter', upper: 'LETTER' }, numbers, usersConf);
  const granted = edits.find(({ file, insert }) => file === USERS_CONF && insert.startsWith('MAY_'))?.insert ?? '';
  expect(granted).toMatch(/^MAY_LETTER = \{\n/);
  expect(granted).toContain('"user.letter.done", "control.presence.letter"');
  expect(granted).toContain('"$JS.API.CONSUMER.MSG.NEXT.LETTER_EXPRESS.*"');
  expect(granted).toContain('"$JS.API.CONSUMER.MSG.NEXT.KV_pipelines.*"');
  expect(granted).not.toMatch(/image/i);
});

describe('the name of a service', () => {
  test('is spelled for types and streams', () => {
    expect(kindNames('sms', [])).toEqual({ name: 'sms', type: 'Sms', upper: 'SMS' });
  });

  test.each(['', 'S', 'Sms', 'sms-gateway', '1a', 'a'.repeat(17), 'gateway', 'image'])('%j is refused', (name) => {
    expect(() => kindNames(name, ['image'])).toThrow(RangeError);
  });
});
