import { readFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { corpusFile, corpusNames } from '../../../bench/image/corpus.ts';
import { startDecoders } from './support/convert-bytes.ts';
import { isRight, judge } from './support/judge-pdf.ts';
import { DocumentJudges, missingRenderers } from './support/renderers.ts';

const decoders = startDecoders();
const judges = new DocumentJudges();
afterAll(() => Promise.all([decoders.close(), judges.close()]));

const missing = missingRenderers();
if (missing !== undefined) console.warn(`the corpus: skipped, because ${missing}`);

// What the bench measures, at a tenth of its sides. `pnpm correctness` judges it at full size.
describe.skipIf(missing !== undefined)('the corpus is drawn as sharp reads it, to the pixel', () => {
  it.each(corpusNames)('%s', async (name) => {
    const { path } = await corpusFile(name, 0.1);
    expect(await judge(await readFile(path), decoders, judges)).toSatisfy(isRight);
  });
});
