// The image converter: against other converters, and against its own limits.
import { DecoderPool, defaultDecoderSettings } from '../services/image/src/convert/decode/decoder-pool.ts';
import { corpusNames } from './image/corpus.ts';
import { measureHostile } from './image/hostile.ts';
import { measureMemory, measureScaling, measureThroughput } from './image/load.ts';
import { openPeers } from './image/peers.ts';
import { compareFile } from './image/ratios.ts';
import { measureResize } from './image/resize.ts';
import { measureSettings } from './image/settings.ts';
import { measureVerified } from './image/verify.ts';
import type { BenchResult, Row } from './run.ts';

const quickNames = [
  'rgb-4mp.png',
  'page-rgb-8mp.png',
  'bilevel-4mp.png',
  'rgba-4mp.png',
  'jpeg-base-4mp.jpg',
  'webp-4mp.webp',
];

type Part = (quick: boolean) => Promise<BenchResult>;

const parts: Readonly<Record<string, Part>> = {
  ratios: (quick) =>
    compareFiles(quick ? quickNames : corpusNames.filter((name) => !name.includes('100mp')), quick ? 3 : 5),
  memory: measureMemory,
  throughput: measureThroughput,
  scaling: measureScaling,
  settings: measureSettings,
  hostile: measureHostile,
  verified: measureVerified,
  resize: measureResize,
};

/** `only` names a part, or a file of the corpus to compare. */
export async function run({ quick, only }: { quick: boolean; only?: string }): Promise<BenchResult> {
  const asked = only === undefined ? Object.values(parts) : [partNamed(only)];
  const rows: Row[] = [];
  const notes: string[] = [];
  for (const part of asked) {
    const measured = await part(quick);
    rows.push(...measured.rows);
    notes.push(...(measured.notes ?? []));
  }
  return { rows, notes };
}

function partNamed(name: string): Part {
  const part = parts[name];
  if (part) return part;
  const files = corpusNames.filter((file) => file.startsWith(name));
  if (files.length === 0) throw new RangeError(`--only ${Object.keys(parts).join(', ')}, or a file of the corpus`);
  return (quick) => compareFiles(files, quick ? 3 : 5);
}

async function compareFiles(names: readonly string[], rounds: number): Promise<BenchResult> {
  const rows: Row[] = [];
  const peers = openPeers();
  const decoders = new DecoderPool({ ...defaultDecoderSettings, size: 2 });
  try {
    const found = Object.entries(peers.versions).map(([peer, version]) => `${peer} ${version}`);
    console.log(`| file | MB | ours, wall / CPU ms | ${found.map((peer) => `${peer}, ms | ratio`).join(' | ')} |`);
    console.log(`| --- | ---: | ---: | ${found.map(() => '---: | ---:').join(' | ')} |`);
    for (const name of names) {
      const { rows: compared, line } = await compareFile(name, rounds, peers, decoders);
      rows.push(...compared);
      console.log(line);
    }
    return { rows, notes: peers.missing };
  } finally {
    peers.close();
    await decoders.close();
  }
}
