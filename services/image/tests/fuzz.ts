import { ConversionError } from '../src/convert/errors.ts';
import type { DecoderPool } from '../src/convert/decode/pool.ts';
import { largestDifference, sharpReading } from './support/compare.ts';
import { convertBytes } from './support/converting.ts';
import { mutate } from './support/mutate.ts';
import { readPictures } from './support/pdf-reader.ts';
import { pick, seededRandom } from './support/random.ts';
import { seedFiles } from './support/seeds.ts';

/** What became of a run of damaged files. */
export interface FuzzReport {
  readonly files: number;
  /** Files that became a PDF with the picture that sharp reads from the same bytes. */
  readonly drawn: number;
  /** Of those, JPEGs that sharp reads only when told to overlook damage: copied as they are, damage and all. */
  readonly drawnDamaged: number;
  readonly refused: Readonly<Record<string, number>>;
  /** Everything that must not happen, each with the seed that does it again. */
  readonly faults: readonly string[];
}

/** Converts so many damaged files, each its own seed, and compares every PDF with sharp's reading of the same bytes. */
export async function fuzz(decoders: DecoderPool, fromSeed: number, files: number): Promise<FuzzReport> {
  const seeds = await seedFiles();
  const refused: Record<string, number> = {};
  const faults: string[] = [];
  let drawn = 0;
  let drawnDamaged = 0;
  for (let seed = fromSeed; seed < fromSeed + files; seed++) {
    const random = seededRandom(seed);
    const origin = seeds[pick(random, seeds.length)]!;
    const { bytes, how } = mutate(origin.bytes, random);
    const verdict = await tryOne(decoders, bytes);
    if (verdict.kind === 'refused') refused[verdict.code] = (refused[verdict.code] ?? 0) + 1;
    else if (verdict.kind === 'fault') faults.push(`seed ${seed}, ${origin.name}, ${how}: ${verdict.what}`);
    else {
      drawn++;
      if (verdict.damaged) drawnDamaged++;
    }
  }
  return { files, drawn, drawnDamaged, refused, faults };
}

type Verdict =
  | { readonly kind: 'drawn'; readonly damaged: boolean }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'fault'; readonly what: string };

async function tryOne(decoders: DecoderPool, bytes: Buffer): Promise<Verdict> {
  let pdf: Buffer;
  let path: string;
  try {
    ({ pdf, path } = await convertBytes(decoders, bytes, { quality: 'lossless' }));
  } catch (error) {
    if (!(error instanceof ConversionError)) return { kind: 'fault', what: `threw ${String(error)}` };
    if (error.code === 'timeout' || error.code === 'decoder_crashed') {
      return { kind: 'fault', what: `${error.code}: ${error.message}` };
    }
    return { kind: 'refused', code: error.code };
  }
  try {
    const [picture] = await readPictures(pdf);
    if (!picture) return { kind: 'fault', what: 'a PDF without a picture' };
    const strict = await reading(bytes, 'warning');
    const read = strict ?? (await reading(bytes, 'none'));
    if (!read) return { kind: 'fault', what: `${path}: a PDF of a file that sharp cannot read at all` };
    const difference = largestDifference(picture, read);
    if (difference > 0)
      return {
        kind: 'fault',
        what: `${path}: the PDF differs from sharp by ${difference}${strict ? '' : ' (damaged)'}`,
      };
    return { kind: 'drawn', damaged: strict === undefined };
  } catch (error) {
    return { kind: 'fault', what: `${path}: the PDF cannot be read: ${String(error)}` };
  }
}

async function reading(
  bytes: Buffer,
  failOn: 'none' | 'warning',
): Promise<{ width: number; height: number; rgba: Buffer } | undefined> {
  return sharpReading(bytes, failOn).catch(() => undefined);
}
