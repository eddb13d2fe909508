import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commandsOf, OTHERS, PAGES_WITH_REQUESTS, requestsOf } from './commands.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const pages = execFileSync('git', ['ls-files', '-z', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  .filter((file) => file !== '' && file !== 'README.md' && existsSync(join(root, file)));
const ofReadme = new Set(commandsOf(read('README.md')));
const others = pages.flatMap((page) => {
  const requests: readonly string[] = (PAGES_WITH_REQUESTS as readonly string[]).includes(page)
    ? requestsOf(read(page))
    : [];
  return commandsOf(read(page))
    .filter((command) => !ofReadme.has(command) && !requests.includes(command))
    .map((command) => ({ page, command }));
});

describe('the commands of the pages', () => {
  test('are executed by a test, or the reason why not is listed', () => {
    const unknown = others.filter(
      ({ page, command }) => !OTHERS.some((entry) => entry.page.test(page) && entry.command.test(command)),
    );
    expect(unknown, 'add them to tests/docs/commands.ts').toEqual([]);
  });

  test('have no entry that no page needs, and none that names a test that is not there', () => {
    const unneeded = OTHERS.filter(
      (entry) => !others.some(({ page, command }) => entry.page.test(page) && entry.command.test(command)),
    );
    expect(unneeded).toEqual([]);
    for (const { by, why } of OTHERS) expect(by === undefined ? why : existsSync(join(root, by))).toBeTruthy();
  });
});
