// Our converter, warm and in process as the service runs it, against one process a file of others, in turns.
import { readFile } from 'node:fs/promises';
import { convert } from '../../services/image/src/convert/convert.ts';
import type { DecoderPool } from '../../services/image/src/convert/decode/decoder-pool.ts';
import { defaultLimits, defaultOptions } from '../../services/image/src/convert/options.ts';
import { sourceFromBytes } from '../../services/image/src/convert/byte-reader.ts';
import { childrenOf, cpuMsOf } from '../processes.ts';
import type { Row } from '../run.ts';
import { corpusFile } from './corpus.ts';
import type { PeerName, Peers } from './peers.ts';

interface Measured {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** How many times faster than ImageMagick each file must at least be; all others not slower by more than 10 %. */
const floors: Record<string, number> = {
  'rgb-4mp.png': 8,
  'rgb-24mp.png': 8,
  'page-rgb-8mp.png': 18,
  'scan-gray-8mp.png': 18,
  'pal-4mp.png': 18,
  'bilevel-4mp.png': 50,
  'jpeg-base-4mp.jpg': 50,
  'jpeg-24mp.jpg': 50,
  'jpeg-prog-14mp.jpg': 50,
  'cmyk-1mp.jpg': 50,
  'exif-6.jpg': 50,
  'rgba-4mp.png': 3,
  'rgba-24mp.png': 3,
  'rgba-opaque-4mp.png': 3,
  'rgba-opaque-24mp.png': 3,
  'art-rgba-14mp.png': 3,
};
const elsewhere = 0.9;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Rows of one file: against ImageMagick and against img2pdf. */
export async function compareFile(
  name: string,
  rounds: number,
  peers: Peers,
  decoders: DecoderPool,
): Promise<{ rows: Row[]; line: string }> {
  const file = await corpusFile(name);
  const bytes = await readFile(file.path);
  const ours: Measured[] = [];
  const theirs: Partial<Record<PeerName, Measured[]>> = {};
  const failures: string[] = [];
  for (let warm = 0; warm < 5; warm++) await convertOnce(bytes, decoders);
  for (let round = 0; round < rounds; round++) {
    for (const peer of Object.keys(peers.versions) as PeerName[]) {
      const runs = (theirs[peer] ??= []);
      // One run of what takes half a minute says enough.
      if (failures.includes(peer) || (runs[0]?.wallMs ?? 0) > 10_000) continue;
      const run = await peers.run(peer, file.path, 180_000);
      if (typeof run === 'string') failures.push(peer);
      else runs.push(run);
    }
    // Ours takes so little that one sample is all noise.
    const repeats = bytes.length > 20e6 ? 1 : 5;
    for (let i = 0; i < repeats; i++) ours.push(await measure(() => convertOnce(bytes, decoders), decoders));
  }
  const our = { wallMs: median(ours.map((run) => run.wallMs)), cpuMs: median(ours.map((run) => run.cpuMs)) };
  const rows: Row[] = [];
  const cells: string[] = [];
  for (const peer of Object.keys(peers.versions) as PeerName[]) {
    const runs = theirs[peer] ?? [];
    if (runs.length === 0) {
      cells.push('cannot', '');
      continue;
    }
    const their = { wallMs: median(runs.map((run) => run.wallMs)), cpuMs: median(runs.map((run) => run.cpuMs)) };
    const floor = peer === 'ImageMagick' ? (floors[name] ?? elsewhere) : 1;
    const ratio = their.wallMs / our.wallMs;
    rows.push({ id: `${name} vs ${peer}`, value: our.wallMs, unit: 'ms', ratio, floor, pass: ratio >= floor });
    cells.push(
      `${their.wallMs.toFixed(0)} / ${their.cpuMs.toFixed(0)}`,
      `${ratio.toFixed(1)}x / ${(their.cpuMs / our.cpuMs).toFixed(1)}x`,
    );
  }
  const megabytes = (bytes.length / 1e6).toFixed(2);
  const line = `| ${name} | ${megabytes} | ${our.wallMs.toFixed(1)} / ${our.cpuMs.toFixed(1)} | ${cells.join(' | ')} |`;
  return { rows, line };
}

async function convertOnce(bytes: Buffer, decoders: DecoderPool): Promise<void> {
  const sink = { write: () => {} };
  await convert([sourceFromBytes(bytes)], defaultOptions, sink, { limits: defaultLimits, decoders });
}

async function measure(run: () => Promise<void>, _decoders: DecoderPool): Promise<Measured> {
  const before = cpuMs();
  const started = performance.now();
  await run();
  return { wallMs: performance.now() - started, cpuMs: cpuMs() - before };
}

/** CPU time of this process and of its decoders. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3 + childrenOf(process.pid).reduce((sum, pid) => sum + (cpuMsOf(pid) || 0), 0);
}
