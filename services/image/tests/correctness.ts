// `pnpm correctness`: holds PngSuite, chapter by chapter, and the corpus of the bench, at full size, against sharp,
// poppler, MuPDF and qpdf, and prints the table of docs/image.md. `--dir FOLDER` judges the pictures of a folder instead,
// against ImageMagick. Ends with 1 when anything is not right.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { corpusFile, corpusNames } from '../../../bench/image/corpus.ts';
import { judgeFolder } from './correctness-folder.ts';
import { crashers, suiteFiles, suiteMissing, type SuiteFile } from './pngsuite/suite.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { isRight, judge, type Judgement } from './support/judge-pdf.ts';
import { DocumentJudges, missingRenderers, type Renderer } from './support/renderers.ts';

const { dir } = parseArgs({ options: { dir: { type: 'string' } } }).values;
if (dir !== undefined) {
  const folderDecoders = startDecoders();
  const differing = await judgeFolder(path.resolve(process.env['INIT_CWD'] ?? '.', dir), folderDecoders);
  await folderDecoders.close();
  console.log(differing === 0 ? '\neverything that was drawn is right' : `\n${differing} are wrong`);
  process.exit(differing === 0 ? 0 : 1);
}

const reason = suiteMissing ?? missingRenderers();
if (reason !== undefined) {
  console.error(`nothing can be judged, because ${reason}`);
  process.exit(2);
}

const decoders = startDecoders();
const judges = new DocumentJudges();
let wrong = 0;

function row(...cells: readonly string[]): void {
  console.log(`| ${cells.join(' | ')} |`);
}

/** A row for the valid files of one kind. */
async function judgeAll(name: string, files: readonly (() => Promise<Buffer>)[]): Promise<void> {
  const judgements: Judgement[] = [];
  for (const bytes of files) judgements.push(await judge(await bytes(), decoders, judges));
  wrong += judgements.filter((judgement) => !isRight(judgement)).length;
  const paths = Map.groupBy(judgements, ({ path }) => path);
  row(
    name,
    String(files.length),
    [...paths].map(([path, { length }]) => (length < files.length ? `${path} ${length}` : path)).join(', '),
    differences(judgements.map(({ samples }) => ({ levels: samples, allowed: 0 }))),
    drawnBy('poppler', judgements),
    drawnBy('mupdf', judgements),
    judgements.every(({ problems }) => problems === '') ? 'clean' : '**problems**',
  );
}

function drawnBy(renderer: Renderer, judgements: readonly Judgement[]): string {
  const found = judgements.flatMap(({ drawn, rounding }) => {
    const levels = drawn[renderer];
    return levels === undefined ? [] : [{ levels, allowed: rounding }];
  });
  return found.length > 0 ? differences(found) : 'not comparable';
}

function differences(found: readonly { readonly levels: number; readonly allowed: number }[]): string {
  const differ = found.filter(({ levels, allowed }) => levels > allowed);
  if (differ.length > 0) return `**${differ.length} differ, by ${Math.max(...differ.map(({ levels }) => levels))}**`;
  const rounded = found.filter(({ levels }) => levels > 0).length;
  return rounded === 0 ? 'equal' : rounded < found.length ? `equal, ${rounded} within 1` : 'within 1';
}

/** A row for files that must not become a PDF. */
async function refuseAll(name: string, files: readonly SuiteFile[]): Promise<void> {
  let refused = 0;
  for (const { bytes } of files) {
    const code = await convertBytes(decoders, await bytes()).then(
      () => 'converted',
      (error: unknown) => (error as { code?: string }).code,
    );
    if (code === 'corrupt_image') refused++;
  }
  wrong += files.length - refused;
  row(name, String(files.length), `${refused} fail as \`corrupt_image\``, '', '', '', '');
}

row('what', 'files', 'path', 'samples', 'drawn by poppler', 'drawn by MuPDF', 'qpdf');
row('---', '---:', '---', '---', '---', '---', '---');
const { valid, corrupted } = await suiteFiles();
for (const [chapter, files] of Map.groupBy(valid, ({ group }) => group)) {
  await judgeAll(
    `PngSuite, ${chapter}`,
    files.map(({ bytes }) => bytes),
  );
}
await refuseAll('PngSuite, corrupted', corrupted);
await refuseAll('what crashed other readers', await crashers());
for (const name of corpusNames) {
  await judgeAll(name, [async () => await readFile((await corpusFile(name)).path)]);
}
await Promise.all([decoders.close(), judges.close()]);
console.log(wrong === 0 ? '\neverything is right' : `\n${wrong} are wrong`);
process.exitCode = wrong === 0 ? 0 : 1;
