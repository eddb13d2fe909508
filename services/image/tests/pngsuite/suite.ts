import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/**
 * PngSuite (Willem van Schaik, http://www.schaik.com/pngsuite/): 161 PNGs of every kind there is, and 14 that are
 * broken on purpose. With it come 27 files that crashed PNG readers. Both are among the tests of libspng, whose source
 * Debian's archive holds; `pnpm pngsuite` fetches it.
 */
export const suiteFolder = path.resolve(
  process.env['PNGSUITE'] ?? path.resolve(import.meta.dirname, '../../../../.data/pngsuite'),
);

export const suiteCounts = { valid: 161, corrupted: 14, crashers: 27 } as const;

/** Why PngSuite is not looked at; undefined when it is. Setting PNGSUITE asks for it, be it there or not. */
export const suiteMissing =
  process.env['PNGSUITE'] !== undefined || existsSync(suiteFolder)
    ? undefined
    : 'PngSuite is not here (pnpm pngsuite fetches it)';

export interface SuiteFile {
  readonly name: string;
  readonly group: string;
  readonly bytes: () => Promise<Buffer>;
}

// The chapters of PngSuite, by the letters that its names begin with.
const chapters: readonly (readonly [chapter: string, names: RegExp])[] = [
  ['basic formats', /^basn/],
  ['interlacing', /^basi/],
  ['odd sizes', /^s\d/],
  ['background', /^bg/],
  ['transparency', /^t/],
  ['gamma', /^g\d/],
  ['filters', /^f/],
  ['additional palettes', /^p[ps]/],
  ['ancillary chunks', /^c|^exif/],
  ['chunk order', /^o/],
  ['zlib levels', /^z/],
  ['corrupted', /^x/],
];

/** The files of PngSuite, valid and corrupted. */
export async function suiteFiles(): Promise<{ readonly valid: SuiteFile[]; readonly corrupted: SuiteFile[] }> {
  const files = (
    await Promise.all(chapters.map(([chapter, names]) => pngsOf('images', chapter, (name) => names.test(name))))
  ).flat();
  return {
    valid: files.filter(({ group }) => group !== 'corrupted'),
    corrupted: files.filter(({ group }) => group === 'corrupted'),
  };
}

/** The files that crashed others. */
export function crashers(): Promise<SuiteFile[]> {
  return pngsOf('crashers', 'crashers', () => true);
}

async function pngsOf(folder: string, group: string, isIn: (name: string) => boolean): Promise<SuiteFile[]> {
  const names = await readdir(path.join(suiteFolder, folder));
  return names
    .filter((name) => name.endsWith('.png') && isIn(name))
    .toSorted()
    .map((name) => ({ name, group, bytes: () => readFile(path.join(suiteFolder, folder, name)) }));
}
