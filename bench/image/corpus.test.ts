import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { corpusFile } from './corpus.ts';

test('a picture that is asked for several times at once is made once', async () => {
  const scale = 0.031;
  const { path } = await corpusFile('bilevel-4mp.png', scale);
  rmSync(path);
  const all = await Promise.all(Array.from({ length: 16 }, () => corpusFile('bilevel-4mp.png', scale)));
  expect(new Set(all.map(({ bytes }) => bytes)).size).toBe(1);
  rmSync(path);
});
