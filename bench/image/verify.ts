// What VERIFY_JPEG costs: each JPEG of the corpus copied, copied and read through for damage, and by ImageMagick.
import { readFile } from 'node:fs/promises';
import { convert } from '../../services/image/src/convert/convert.ts';
import { DecoderPool, defaultDecoderSettings } from '../../services/image/src/convert/decode/decoder-pool.ts';
import { defaultLimits, defaultOptions } from '../../services/image/src/convert/options.ts';
import { sourceFromBytes } from '../../services/image/src/convert/byte-reader.ts';
import type { BenchResult, Row } from '../run.ts';
import { corpusFile, corpusNames } from './corpus.ts';
import { openPeers } from './peers.ts';

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Wall times in turns, and how many times faster a verified copy is than ImageMagick: it must not be slower. */
export async function measureVerified(quick: boolean): Promise<BenchResult> {
  const names = corpusNames.filter((name) => name.endsWith('.jpg'));
  const peers = openPeers();
  const decoders = new DecoderPool({ ...defaultDecoderSettings, size: 2 });
  const rows: Row[] = [];
  try {
    console.log('| file | copied, ms | verified, ms | ImageMagick, ms | times faster, verified |');
    console.log('| --- | ---: | ---: | ---: | ---: |');
    for (const name of names) {
      const { path } = await corpusFile(name);
      const bytes = await readFile(path);
      const once = async (verifyJpeg: boolean): Promise<number> => {
        const started = performance.now();
        const context = { limits: defaultLimits, decoders, verifyJpeg };
        await convert([sourceFromBytes(bytes)], defaultOptions, { write: () => {} }, context);
        return performance.now() - started;
      };
      for (let warm = 0; warm < 5; warm++) await once(warm % 2 === 0);
      const [copied, verified, theirs]: [number[], number[], number[]] = [[], [], []];
      for (let round = 0; round < (quick ? 3 : 7); round++) {
        for (let repeat = 0; repeat < 5; repeat++) {
          copied.push(await once(false));
          verified.push(await once(true));
        }
        const run = peers.versions.ImageMagick === undefined ? 'missing' : await peers.run('ImageMagick', path, 60_000);
        if (typeof run !== 'string') theirs.push(run.wallMs);
      }
      const ms = median(verified);
      const ratio = median(theirs) / ms;
      const cells = [median(copied), ms, median(theirs)].map((value) => value.toFixed(1));
      console.log(`| ${name} | ${cells.join(' | ')} | ${ratio.toFixed(1)}x |`);
      if (theirs.length > 0) {
        rows.push({
          id: `${name} verified vs ImageMagick`,
          value: ms,
          unit: 'ms',
          ratio,
          floor: 0.9,
          pass: ratio >= 0.9,
        });
      }
    }
    return { rows, notes: peers.missing };
  } finally {
    peers.close();
    await decoders.close();
  }
}
