import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const COLUMNS = 100;
const PNPM_COMMANDS = new Set(['install', 'exec', 'run', 'add', 'deploy', 'publish']);
/** Of the service that docs/adding-a-service.md makes as it goes. */
const MADE_BY_COMMAND = /^services\/sms/;
/** Lines that several changes at once append to; a page that a tool writes. */
const NOT_WRAPPED = new Set(['CHANGELOG.md', 'libs/pipeline/OPTIONS.md']);

/** Tracked Markdown files; templates of GitHub count as well. */
const pages = execFileSync('git', ['ls-files', '-z', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** The lines of a page outside its code blocks, with their numbers. */
function prose(text: string): { readonly number: number; readonly line: string }[] {
  let fence = false;
  return text.split('\n').flatMap((line, index) => {
    const edge = /^\s*(?:```|~~~)/.test(line);
    if (edge) fence = !fence;
    return fence || edge ? [] : [{ number: index + 1, line }];
  });
}

/** The anchors of a page, made from its headings as GitHub makes them. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const { line } of prose(text)) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*]/g, '');
    const slug = words
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/** Links to files of the repository that lead nowhere. */
function brokenLinks(file: string): string[] {
  const found = prose(read(file)).flatMap(({ number, line }) => {
    const text = line.replaceAll(/`[^`]*`/g, '');
    return [...text.matchAll(/\]\(([^()\s]+)\)|(?:src|href)="([^"]+)"/g)].map((match) => ({
      number,
      target: match[1] ?? match[2] ?? '',
    }));
  });
  return found
    .filter(({ target }) => !/^[a-z]+:|^\{\{/.test(target))
    .flatMap(({ number, target }) => {
      const [path = '', anchor] = target.split('#');
      const to = path === '' ? file : join(dirname(file), path);
      const full = join(root, to);
      if (!existsSync(full)) return [`${file}:${number} links ${target}: no such file`];
      if (anchor === undefined || !to.endsWith('.md') || anchorsOf(read(to)).has(anchor)) return [];
      return [`${file}:${number} links ${target}: no heading of ${to} makes this anchor`];
    });
}

/** Whether a line has a space to break at outside its links and code spans. */
const hasBreak = (line: string): boolean =>
  /\S\s/.test(
    line
      .replace(/^\s*(?:(?:[-*>]|\d+\.)\s+)?/, '')
      .replaceAll(/\[[^\]]*\]\([^)]*\)/g, 'link')
      .replaceAll(/`[^`]*`/g, 'code'),
  );

describe('the pages of the repository', () => {
  test('were found', () => expect(pages).toContain('README.md'));

  test('link files and headings that exist', () => {
    expect(pages.flatMap(brokenLinks)).toEqual([]);
  });

  // Tables and indented code cannot be wrapped, and a line that is one link, word or code span has nowhere to break.
  test(`wrap at ${COLUMNS} columns`, () => {
    const long = pages
      .filter((file) => !NOT_WRAPPED.has(file))
      .flatMap((file) =>
        prose(read(file))
          .filter(({ line }) => line.length > COLUMNS && !/^(?:\s*(?:\||<!--)| {4})/.test(line) && hasBreak(line))
          .map(({ number }) => `${file}:${number}`),
      );
    expect(long).toEqual([]);
  });

  // Commands of README.md are executed by `pnpm test:first-hour`; of the others at least the names are held.
  test('name scripts and test files that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const unknown = pages.flatMap((file) => {
      const code = [...read(file).matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].map(([text]) => text).join('\n');
      const names = [...code.matchAll(/\bpnpm ([a-z][\w:-]*)(?: ((?:tests|libs|services|dev|o11y)\/[\w./-]+))?/g)];
      return names
        .filter(([, script = '', path]) => {
          if (path !== undefined && globSync(`${path}*`, { cwd: root }).length === 0)
            return !MADE_BY_COMMAND.test(path);
          return !(script in scripts) && !PNPM_COMMANDS.has(script);
        })
        .map(([text]) => `${file}: ${text}`);
    });
    expect(unknown).toEqual([]);
  });

  test('of the guarantees names tests that exist', () => {
    const rows = read('docs/guarantees.md').matchAll(/^\|.*\]\(([^)]+)\) \| "(.+)" \|$/gm);
    const missing = [...rows]
      .map(([, path = '', name = '']) => ({ file: join('docs', path), name }))
      .filter(({ file, name }) => !read(file).includes(`'${name}'`));
    expect(missing).toEqual([]);
  });
});
