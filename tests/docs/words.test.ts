import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { words } from './words.ts';

const root = join(import.meta.dirname, '../..');

/** History, licences, locked versions, what tools make, and the list itself. */
const NOT_READ =
  /^(?:CHANGELOG\.md|LICENSE|pnpm-lock\.yaml|libs\/contracts\/src\/gen\/|docs\/benchmarks\/flame-|tests\/docs\/words|services\/image\/tests\/samples\/page\.ts)|\.(?:png|jpe?g|webp|gif|avif|tiff?|pdf|binpb|bin|gz|icc)$/;
/** A name in quotes or an address is data: the consumer `'nobody'`, the user of that name, `nobody@example.com`. */
const NAME = '[\'"`/@.:$-]';

const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  // A link is read where it leads to.
  .filter(
    (file) => file !== '' && !NOT_READ.test(file) && lstatSync(join(root, file), { throwIfNoEntry: false })?.isFile(),
  );

const rules = words.map((word) => ({
  ...word,
  regex: new RegExp(
    `(?<![\\w])(?<!${NAME}(?=nobody))(?:${word.pattern})(?!\\w)(?!(?<=nobody)${NAME})`,
    word.exact === true ? 'g' : 'gi',
  ),
}));

function findings(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return rules
    .filter((rule) => rule.in === undefined || rule.in.some((folder) => file.startsWith(folder)))
    .flatMap(({ regex, write }) =>
      [...text.matchAll(regex)].map(
        (match) => `${file}:${text.slice(0, match.index).split('\n').length} says "${match[0]}": write ${write}`,
      ),
    );
}

test('the words of the code and the documents are terms that a reader can look up', () => {
  expect(files.flatMap(findings)).toEqual([]);
});
