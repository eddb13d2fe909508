// The image converter: against other converters, and against its own limits.
import { DecoderPool, defaultDecoderSettings } from '../services/image/src/convert/decode/pool.ts';
import { corpusNames } from './image/corpus.ts';
import { measureHostile } from './image/hostile.ts';
import { measureLoad } from './image/load.ts';
import { openPeers } from './image/peers.ts';
import { compareFile } from './image/ratios.ts';
import type { BenchResult, Row } from './run.ts';

const quickNames = [
  'rgb-4mp.png',
  'page-rgb-8mp.png',
  'bilevel-4mp.png',
  'rgba-4mp.png',
  'jpeg-base-4mp.jpg',
  'webp-4mp.webp',
];

export async function run({ quick }: { quick: boolean }): Promise<BenchResult> {
  const rows: Row[] = [];
  const notes: string[] = [];
  const peers = openPeers();
  const decoders = new DecoderPool({ ...defaultDecoderSettings, size: 2 });
  try {
    const names = quick ? quickNames : corpusNames.filter((name) => !name.includes('100mp'));
    const found = Object.entries(peers.versions).map(([peer, version]) => `${peer} ${version}`);
    console.log(`| file | MB | ours, wall / CPU ms | ${found.map((peer) => `${peer}, ms | ratio`).join(' | ')} |`);
    for (const name of names) {
      const { rows: compared, line } = await compareFile(name, quick ? 3 : 5, peers, decoders);
      rows.push(...compared);
      console.log(line);
    }
    notes.push(...peers.missing);
  } finally {
    peers.close();
    await decoders.close();
  }
  for (const measured of [await measureLoad(quick), await measureHostile(quick)]) {
    rows.push(...measured.rows);
    notes.push(...measured.notes);
  }
  return { rows, notes };
}
