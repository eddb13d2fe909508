import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  callerProblems,
  checkVariables,
  mailTemplateNames,
  mailTemplates,
  type TemplateVariable,
  type TemplateVariables,
} from './index.ts';

const declared = {
  title: { kind: 'line', maxChars: 5, required: true },
  body: { kind: 'lines', maxChars: 20 },
  href: { kind: 'link' },
  flag: { kind: 'flag', default: false, from: 'service' },
  made: { kind: 'line', required: true, from: 'document' },
} as const satisfies TemplateVariables;

describe('variables of a template', () => {
  test('are tidied up, with defaults in place and without what is not declared', () => {
    const given = { title: ' a\r\n b ', body: 'one\r\ntwo\0', href: 'HTTPS://A.example', made: 'x', other: 'y' };
    expect({ ...checkVariables(declared, given).values }).toEqual({
      title: 'a b',
      body: 'one\ntwo',
      href: 'https://a.example/',
      flag: false,
      made: 'x',
    });
  });

  test('are refused all at once, by name', () => {
    expect(checkVariables(declared, { title: 'too long', body: 7, href: '//a', flag: 'yes' }).problems).toEqual([
      { name: 'title', detail: 'must be at most 5 characters' },
      { name: 'body', detail: 'must be a string' },
      { name: 'href', detail: 'must be an http(s) URL without credentials' },
      { name: 'flag', detail: 'must be true or false' },
      { name: 'made', detail: 'is missing' },
    ]);
  });

  test('that the service gives are not asked of a caller', () => {
    expect(callerProblems(declared, { title: 'x', flag: 'yes' })).toEqual([{ name: 'made', detail: 'is missing' }]);
    expect(callerProblems(declared, { title: 'x', flag: 'yes', made: 7 }, true)).toEqual([]);
  });

  test('are not looked for in a prototype', () => {
    const named = (variable: TemplateVariable): TemplateVariables => ({ ['constructor']: variable });
    expect(checkVariables(named({ kind: 'line', required: true }), {}).problems).toHaveLength(1);
    expect(checkVariables(named({ kind: 'line' }), {}).values?.['constructor']).toBeUndefined();
  });

  test.each(mailTemplateNames)('of %s are refused without their values being told', (name) => {
    const secret = 'sécret-value';
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(...Object.keys(mailTemplates[name]), 'x'),
          fc.oneof(fc.constant(secret), fc.jsonValue()),
        ),
        (given) => {
          const { problems, values } = checkVariables(mailTemplates[name], given);
          expect((problems === undefined) !== (values === undefined)).toBe(true);
          expect(JSON.stringify(problems ?? [])).not.toContain(secret);
        },
      ),
    );
  });
});
