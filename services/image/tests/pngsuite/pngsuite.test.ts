import { afterAll, describe, expect, it } from 'vitest';
import { convertBytes, startDecoders } from '../support/convert-bytes.ts';
import { isRight, judge } from '../support/judge-pdf.ts';
import { DocumentJudges, missingRenderers } from '../support/renderers.ts';
import { crashers, suiteCounts, suiteFiles, suiteMissing } from './suite.ts';

const reason = suiteMissing ?? missingRenderers();
if (reason !== undefined) console.warn(`PngSuite: skipped, because ${reason}`);

describe.skipIf(reason !== undefined)('PngSuite', async () => {
  const { valid, corrupted } = reason === undefined ? await suiteFiles() : { valid: [], corrupted: [] };
  const hostile = reason === undefined ? await crashers() : [];
  const decoders = startDecoders();
  const judges = new DocumentJudges();
  afterAll(() => Promise.all([decoders.close(), judges.close()]));

  it('is all there', () => {
    const counts = { valid: valid.length, corrupted: corrupted.length, crashers: hostile.length };
    expect(counts).toEqual(suiteCounts);
  });

  describe('a valid file is drawn as sharp reads it, to the pixel, in a document without fault', () => {
    it.each(valid)('$group: $name', async ({ bytes }) => {
      const judgement = await judge(await bytes(), decoders, judges);
      expect(judgement).toSatisfy(isRight);
    });
  });

  describe('a corrupted file fails as corrupt_image', () => {
    it.each(corrupted)('$name', async ({ bytes }) => {
      await expect(convertBytes(decoders, await bytes())).rejects.toMatchObject({ code: 'corrupt_image' });
    });
  });

  describe('a file that crashed other readers fails as corrupt_image', () => {
    it.each(hostile)('$name', async ({ bytes }) => {
      await expect(convertBytes(decoders, await bytes())).rejects.toMatchObject({ code: 'corrupt_image' });
    });
  });
});
