// `pnpm correctness --dir FOLDER`: holds every picture of a folder against ImageMagick, which shares no decoder setup
// with the service: the pixels of its first page, and the size of that page. Prints a table, and each file that differs.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { detectFileType } from '@sluice/contracts';
import type { DecoderPool } from '../src/convert/decode/decoder-pool.ts';
import { largestDifference } from './support/compare.ts';
import { convertBytes } from './support/convert-bytes.ts';
import { readPictures } from './support/pdf-reader.ts';

const run = promisify(execFile);
const mostOutputBytes = 1 << 30;
const readTimeoutMs = 60_000;
// Decoders of lossy formats round differently, and scale chroma differently.
const allowedLevels: Readonly<Record<string, number>> = { avif: 10, webp: 10, jpeg: 4, tiff: 3, gif: 0, png: 1 };
const allowedPoints = 0.6;

interface Reading {
  readonly width: number;
  readonly height: number;
  readonly rgba: Buffer;
  /** In points; undefined where it does not tell. */
  readonly page: { readonly width: number; readonly height: number } | undefined;
}

interface Verdict {
  readonly file: string;
  readonly format: string;
  /** `right`, what differs, or the code it was refused with. */
  readonly outcome: string;
  readonly detail: string;
}

/** Judges a folder and what is below it; resolves with how many pictures are drawn wrong. */
export async function judgeFolder(folder: string, decoders: DecoderPool): Promise<number> {
  await run('convert', ['-version']).catch(() => {
    throw new Error('there is no convert (apt-get install imagemagick)');
  });
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const verdicts: Verdict[] = [];
  for (const file of files.toSorted()) {
    const bytes = await readFile(file);
    const type = detectFileType(bytes);
    if (type.kind === 'image') verdicts.push(await judgeFile(file, bytes, type.format, decoders));
  }
  printTable(verdicts);
  return verdicts.filter(({ outcome }) => outcome === 'pixels differ' || outcome === 'page size differs').length;
}

async function judgeFile(file: string, bytes: Buffer, format: string, decoders: DecoderPool): Promise<Verdict> {
  const verdict = (outcome: string, detail = ''): Verdict => ({ file, format, outcome, detail });
  const converted = await convertBytes(decoders, bytes, { quality: 'lossless' }).catch((error: unknown) => error);
  if (converted instanceof Error) return verdict((converted as { code?: string }).code ?? 'threw', converted.message);
  const [drawn] = await readPictures((converted as { pdf: Buffer }).pdf);
  if (!drawn) return verdict('pixels differ', 'no picture');
  // Each reader turns CMYK into RGB its own way.
  if (drawn.colourSpace === 'DeviceCMYK') return verdict('not comparable', 'CMYK');
  const read = await imageMagickReads(file).catch((error: unknown) => String(error).split('\n')[0] ?? '');
  if (typeof read === 'string') return verdict('not comparable', read);
  const levels = largestDifference(drawn, read);
  if (levels > (allowedLevels[format] ?? 0)) return verdict('pixels differ', `by ${levels} levels`);
  if (!read.page) return verdict('right');
  const [across, down] = [drawn.page.width * drawn.page.userUnit, drawn.page.height * drawn.page.userUnit];
  const sizes = `${across} x ${down} pt, expected ${read.page.width} x ${read.page.height}`;
  const off = Math.max(Math.abs(across - read.page.width), Math.abs(down - read.page.height));
  return off > allowedPoints ? verdict('page size differs', sizes) : verdict('right');
}

async function imageMagickReads(file: string): Promise<Reading> {
  const options = { encoding: 'buffer', maxBuffer: mostOutputBytes, timeout: readTimeoutMs } as const;
  const first = `${file}[0]`;
  const facts = await run('convert', [first, '-format', '%x %y %U %[orientation]', 'info:'], options);
  const [x = '', y = '', unit = '', orientation = ''] = facts.stdout.toString().split(/\s+/);
  const sized = await run('convert', [first, '-auto-orient', '-format', '%w %h', 'info:'], options);
  const [width = 0, height = 0] = sized.stdout.toString().trim().split(' ').map(Number);
  const { stdout: rgba } = await run('convert', [first, '-auto-orient', '-depth', '8', 'rgba:-'], options);
  const sideways = /^(Left|Right)/.test(orientation);
  const density = densityOf(Number.parseFloat(x), Number.parseFloat(y), unit);
  if (density === undefined) return { width, height, rgba, page: undefined };
  const [perX, perY] = density;
  const page = sideways
    ? { width: (width * 72) / perY, height: (height * 72) / perX }
    : { width: (width * 72) / perX, height: (height * 72) / perY };
  const least = 3;
  return { width, height, rgba, page: { width: Math.max(page.width, least), height: Math.max(page.height, least) } };
}

// docs/image.md: whole pixels per inch from 30 on, 96 where none are stated, a ratio without a unit.
function densityOf(x: number, y: number, unit: string): readonly [number, number] | undefined {
  if (unit === 'Undefined') return x > 0 && y > 0 ? [96 * Math.max(1, x / y), 96 * Math.max(1, y / x)] : [96, 96];
  // What it says of a file that states nothing, and of one that states 72.
  if (x === 72 && y === 72) return undefined;
  const perInch = [x, y].map((value) => Math.round(unit === 'PixelsPerCentimeter' ? value * 2.54 : value));
  const [across = 0, down = 0] = perInch;
  return across >= 30 && down >= 30 ? [across, down] : [96, 96];
}

function printTable(verdicts: readonly Verdict[]): void {
  console.log('| format | files | outcomes |\n| --- | ---: | --- |');
  for (const [format, each] of Map.groupBy(verdicts, (verdict) => verdict.format)) {
    const counts = [...Map.groupBy(each, ({ outcome }) => outcome)].map(
      ([outcome, { length }]) => `${outcome} ${length}`,
    );
    console.log(`| ${format} | ${each.length} | ${counts.join(', ')} |`);
  }
  for (const { file, outcome, detail } of verdicts) {
    if (outcome !== 'right') console.log(`- ${file}: ${outcome}${detail === '' ? '' : ` (${detail})`}`);
  }
}
