// Scaling down and re-encoding, beside the same steps written straight in sharp: what the decoder processes, the limits and
// the PDF cost.
import { readFile } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import { convert } from '../../services/image/src/convert/convert.ts';
import { sourceFromBytes } from '../../services/image/src/convert/byte-reader.ts';
import { DecoderPool, defaultDecoderSettings } from '../../services/image/src/convert/decode/decoder-pool.ts';
import { defaultLimits, defaultOptions, type ConvertOptions } from '../../services/image/src/convert/options.ts';
import type { BenchResult, Row } from '../run.ts';
import { corpusFile } from './corpus.ts';

interface Case {
  readonly id: string;
  readonly file: string;
  readonly options: Partial<ConvertOptions>;
  /** The same picture as a JPEG, as a program writes it that trusts its files. */
  readonly bare: (picture: Sharp) => Sharp;
}

const cases: readonly Case[] = [
  {
    id: 'resize.jpeg-24mp_1600',
    file: 'jpeg-24mp.jpg',
    options: { maxWidth: 1_600 },
    bare: (picture) => picture.resize({ width: 1_600, withoutEnlargement: true }).jpeg({ quality: 90 }),
  },
  {
    id: 'resize.png-24mp_1600',
    file: 'rgb-24mp.png',
    options: { maxWidth: 1_600, quality: 'high' },
    bare: (picture) =>
      picture.resize({ width: 1_600, withoutEnlargement: true }).jpeg({ quality: 90, chromaSubsampling: '4:4:4' }),
  },
  {
    id: 'resize.jpeg-24mp_low',
    file: 'jpeg-24mp.jpg',
    options: { quality: 'low' },
    bare: (picture) => picture.jpeg({ quality: 80 }),
  },
  {
    id: 'resize.png-24mp_high',
    file: 'rgb-24mp.png',
    options: { quality: 'high' },
    bare: (picture) => picture.jpeg({ quality: 90, chromaSubsampling: '4:4:4' }),
  },
  {
    id: 'resize.webp-4mp_auto',
    file: 'webp-4mp.webp',
    options: {},
    bare: (picture) => picture.jpeg({ quality: 90 }),
  },
];

const FLOOR = 1;
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
const wallMsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now();
  await work();
  return performance.now() - began;
};

/** In turns, warm: sharp as it comes, with its threads for each picture, and the converter as the service runs it. */
export async function measureResize(quick: boolean): Promise<BenchResult> {
  const rounds = quick ? 5 : 11;
  const decoders = new DecoderPool({ ...defaultDecoderSettings, size: 2 });
  const rows: Row[] = [];
  try {
    for (const { id, file, options, bare } of cases) {
      const bytes = await readFile((await corpusFile(file)).path);
      const ours = (): Promise<unknown> =>
        convert(
          [sourceFromBytes(bytes)],
          { ...defaultOptions, ...options },
          { write: () => {} },
          { limits: defaultLimits, decoders },
        );
      const theirs = (): Promise<unknown> => bare(sharp(bytes)).toBuffer();
      await ours();
      await theirs();
      const took: { readonly ours: number[]; readonly theirs: number[] } = { ours: [], theirs: [] };
      for (let round = 0; round < rounds; round += 1) {
        took.theirs.push(await wallMsOf(theirs));
        took.ours.push(await wallMsOf(ours));
      }
      const value = median(took.ours);
      const ratio = median(took.theirs) / value;
      rows.push({
        id,
        value,
        unit: 'ms, with the time of sharp alone over it',
        ratio,
        floor: FLOOR,
        pass: ratio >= FLOOR,
      });
    }
    return {
      rows,
      notes: [`sharp ${sharp.versions.sharp}: ${cases.length} files, median of ${rounds} rounds in turns.`],
    };
  } finally {
    await decoders.close();
  }
}
