import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ofOneCall } from './docs/collections-of-one-call.ts';
import { collections } from './docs/collections.ts';

const root = join(import.meta.dirname, '..');

/** A Map or Set that begins empty, as a constant of a module or of a function's outermost level, or as a field. */
const COLLECTION =
  /^ {0,2}(?:export )?(?:(?:private|readonly|const|let|static) )*(#?\w+)(?:\s*:[^=\n]*)? = new (?:Map|Set)(?:<.*>)?\(\);/gm;

test('every Map and Set that may outlive a call says what bounds it, in tests/docs/collections.ts', () => {
  const files = globSync(['services/*/src/**/*.ts', 'libs/*/src/**/*.ts'], { cwd: root }).filter(
    (file) => !/\.test\.ts$|\/gen\/|^libs\/client\//.test(file),
  );
  const found = files.flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(COLLECTION)].map(([, name]) => `${file} ${name}`),
  );
  const listed = new Set([...collections.map(({ where }) => where), ...ofOneCall]);
  expect(
    found.filter((each) => !listed.has(each)),
    'add a row to tests/docs/collections.ts that says what bounds it and what ends an entry',
  ).toEqual([]);
  expect(
    [...listed].filter((each) => !found.includes(each)),
    'these rows of tests/docs/collections.ts are of nothing that is there',
  ).toEqual([]);
});
