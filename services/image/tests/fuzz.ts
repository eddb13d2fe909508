import { existsSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ConversionError } from '../src/convert/errors.ts';
import type { DecoderPool } from '../src/convert/decode/decoder-pool.ts';
import { residentBytes } from '../src/convert/decode/decoder-process.ts';
import { largestDifference, sharpReading } from './support/compare.ts';
import { convertBytes } from './support/convert-bytes.ts';
import { mutate } from './support/mutate.ts';
import { readPictures } from './support/pdf-reader.ts';
import { pick, seededRandom } from './support/random.ts';
import { seedFiles } from './support/seeds.ts';

type Seeds = Awaited<ReturnType<typeof seedFiles>>;

/** What became of a run of damaged files. */
export interface FuzzReport {
  readonly files: number;
  /** Files that became a PDF with the picture that sharp reads from the same bytes. */
  readonly drawn: number;
  /** Of those, JPEGs that sharp reads only when told to overlook damage: copied as they are, damage and all. */
  readonly drawnDamaged: number;
  /** JPEGs copied as they are whose damage stops sharp with every setting, in the file and in the PDF alike. */
  readonly copiedUnreadable: number;
  readonly refused: Readonly<Record<string, number>>;
  /** Everything that must not happen, each with the seed that does it again. */
  readonly faults: readonly string[];
}

/** Converts so many damaged files, each its own seed, and compares every PDF with sharp's reading of the same bytes. */
export async function fuzz(
  decoders: DecoderPool,
  fromSeed: number,
  files: number,
  settings = { verifyJpeg: false },
): Promise<FuzzReport> {
  const seeds = await seedFiles();
  const refused: Record<string, number> = {};
  const faults: string[] = [];
  let drawn = 0;
  let drawnDamaged = 0;
  let copiedUnreadable = 0;
  for (let seed = fromSeed; seed < fromSeed + files; seed++) {
    const { name, how, bytes } = mutant(seeds, seed);
    const verdict = await tryOne(decoders, bytes, settings);
    if (verdict.kind === 'refused') refused[verdict.code] = (refused[verdict.code] ?? 0) + 1;
    else if (verdict.kind === 'fault') faults.push(`seed ${seed}, ${name}, ${how}: ${verdict.what}`);
    else if (verdict.kind === 'unreadable') copiedUnreadable++;
    else {
      drawn++;
      if (verdict.damaged) drawnDamaged++;
    }
  }
  return { files, drawn, drawnDamaged, copiedUnreadable, refused, faults };
}

/** What this process and its decoders take of memory, in bytes, while they convert so many damaged files. */
export interface MemoryUse {
  /** After the first fifth. */
  readonly warmBytes: number;
  readonly endBytes: number;
}

/** Converts the same damaged files without looking at what comes of them, which would take memory of its own. */
export async function fuzzForMemory(decoders: DecoderPool, fromSeed: number, files: number): Promise<MemoryUse> {
  const seeds = await seedFiles();
  let warmBytes = 0;
  for (let done = 0; done < files; done++) {
    if (done === Math.floor(files / 5)) warmBytes = residentHere();
    await convertBytes(decoders, mutant(seeds, fromSeed + done).bytes, { quality: 'lossless' }).catch(() => {});
  }
  return { warmBytes, endBytes: residentHere() };
}

// What a leak holds survives a collection; what else there is depends on when the last one was.
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function residentHere(): number {
  collectGarbage();
  const children = `/proc/${process.pid}/task/${process.pid}/children`;
  const pids = existsSync(children) ? readFileSync(children, 'latin1').trim().split(' ').map(Number) : [];
  return pids.reduce((sum, pid) => sum + (residentBytes(pid) ?? 0), process.memoryUsage.rss());
}

function mutant(seeds: Seeds, seed: number): { readonly name: string; readonly how: string; readonly bytes: Buffer } {
  const random = seededRandom(seed);
  const origin = seeds[pick(random, seeds.length)]!;
  return { name: origin.name, ...mutate(origin.bytes, random) };
}

type Verdict =
  | { readonly kind: 'drawn'; readonly damaged: boolean }
  | { readonly kind: 'unreadable' }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'fault'; readonly what: string };

async function tryOne(
  decoders: DecoderPool,
  bytes: Buffer,
  settings: { readonly verifyJpeg: boolean },
): Promise<Verdict> {
  let pdf: Buffer;
  let path: string;
  try {
    ({ pdf, path } = await convertBytes(decoders, bytes, { quality: 'lossless' }, {}, settings));
  } catch (error) {
    if (!(error instanceof ConversionError)) return { kind: 'fault', what: `threw ${String(error)}` };
    if (error.code === 'timeout' || error.code === 'decoder_crashed') {
      return { kind: 'fault', what: `${error.code}: ${error.message}` };
    }
    return { kind: 'refused', code: error.code };
  }
  try {
    const strict = await reading(bytes, 'warning');
    const read = strict ?? (await reading(bytes, 'none'));
    if (!read && path === 'passthrough' && (await stopsSharp(pdf))) return { kind: 'unreadable' };
    const [picture] = await readPictures(pdf);
    if (!picture) return { kind: 'fault', what: 'a PDF without a picture' };
    if (!read) return { kind: 'fault', what: `${path}: a PDF of a file that sharp cannot read at all` };
    const difference = largestDifference(picture, read);
    if (difference > 0)
      return {
        kind: 'fault',
        what: `${path}: the PDF differs from sharp by ${difference}${strict ? '' : ' (damaged)'}`,
      };
    // A file that was repaired stops sharp, but the JPEG in its PDF does not.
    return { kind: 'drawn', damaged: strict === undefined && !(await isSound(pdf)) };
  } catch (error) {
    return { kind: 'fault', what: `${path}: the PDF cannot be read: ${String(error)}` };
  }
}

// Reading a copied JPEG out of the PDF is sharp's work, too.
function stopsSharp(pdf: Buffer): Promise<boolean> {
  return readPictures(pdf).then(
    () => false,
    (error: unknown) => String(error).includes('VipsJpeg'),
  );
}

/** Whether the picture in a PDF is none that is copied, or a JPEG that sharp reads without a warning. */
async function isSound(pdf: Buffer): Promise<boolean> {
  const [soi, eoi] = [pdf.indexOf(Buffer.from([0xff, 0xd8, 0xff])), pdf.lastIndexOf(Buffer.from([0xff, 0xd9]))];
  if (!pdf.includes('/DCTDecode')) return true;
  return (await reading(pdf.subarray(soi, eoi + 2), 'warning')) !== undefined;
}

async function reading(
  bytes: Buffer,
  failOn: 'none' | 'warning',
): Promise<{ width: number; height: number; rgba: Buffer } | undefined> {
  return sharpReading(bytes, failOn).catch(() => undefined);
}
