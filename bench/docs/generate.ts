// `pnpm gen:benchmarks-docs [FOLDER]`: writes docs/benchmarks.md and its pictures from what `pnpm bench ... --json` wrote.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCommand } from '@sluice/cli';
import { benches } from '../frame/benches.ts';
import type { BenchReport } from '../frame/result.ts';
import { about } from './about.ts';
import { benchmarksPage, type BenchmarksPage } from './page.ts';

const DOCS = join(import.meta.dirname, '../../docs');
/** Where the reports are kept that the page was made from, with its pictures. */
export const KEPT = join(DOCS, 'benchmarks');
export const PAGE = join(DOCS, 'benchmarks.md');

/** The page of the reports in a folder. */
export function pageOf(folder: string): BenchmarksPage {
  const reports = benches.flatMap(({ name }) => {
    const file = join(folder, `${name}.json`);
    return existsSync(file) ? [JSON.parse(readFileSync(file, 'utf8')) as BenchReport] : [];
  });
  const files = existsSync(folder) ? readdirSync(folder) : [];
  const flames = files.flatMap((name) => /^flame-(.+)\.svg$/.exec(name)?.[1] ?? []);
  return benchmarksPage(reports, flames.toSorted(), about);
}

if (import.meta.main) {
  const { positionals } = parseCommand({
    name: 'pnpm gen:benchmarks-docs',
    usage: `usage: pnpm gen:benchmarks-docs [FOLDER]   writes docs/benchmarks.md and its pictures

  FOLDER   what \`pnpm bench all --json FOLDER\` has written; its files take the place of those of the same benches in
           docs/benchmarks. Without it the page is made again from those.`,
    options: {},
    maxPositionals: 1,
  });
  mkdirSync(KEPT, { recursive: true });
  const [folder] = positionals;
  if (folder !== undefined) {
    const found = benches.filter(({ name }) => existsSync(join(folder, `${name}.json`)));
    if (found.length === 0) {
      console.error(
        `pnpm gen:benchmarks-docs: ${folder} has no report of any bench; see pnpm gen:benchmarks-docs --help`,
      );
      process.exit(2);
    }
    for (const { name } of found) cpSync(join(folder, `${name}.json`), join(KEPT, `${name}.json`));
  }
  const { markdown, pictures } = pageOf(KEPT);
  for (const name of readdirSync(KEPT)) {
    if (name.endsWith('.svg') && !name.startsWith('flame-')) rmSync(join(KEPT, name));
  }
  for (const [name, svg] of pictures) writeFileSync(join(KEPT, name), svg);
  writeFileSync(PAGE, markdown);
  console.log(`${PAGE}: ${pictures.size} pictures`);
}
