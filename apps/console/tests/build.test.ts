import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { expect, test } from 'vitest';
import { buildConsole } from '../build.ts';

const DIST = join(import.meta.dirname, '../dist');
const MOST_BYTES = 200_000;

test('the console builds once per change of its sources, in under 200 kB', async () => {
  await buildConsole();
  expect(await buildConsole()).toBe(false);
  const page = await readFile(join(DIST, 'index.html'), 'utf8');
  const assets = await readdir(join(DIST, 'assets'));
  // The page names every file it loads, nothing inline and nothing from elsewhere.
  for (const [, source] of page.matchAll(/(?:src|href)="\.\/assets\/([^"]+)"/g)) expect(assets).toContain(source);
  expect(page).not.toMatch(/<script(?![^>]*\ssrc=)|<style|https?:\/\//);
  let bytes = 0;
  for (const name of assets) {
    const content = await readFile(join(DIST, 'assets', name));
    // The form of elements that is for debugging names the file and line of each.
    expect(content.toString()).not.toContain('lineNumber:');
    bytes += (await promisify(gzip)(content)).length;
  }
  expect(bytes).toBeLessThan(MOST_BYTES);
});
