// `pnpm flame NAME` loads a part of the system under `--cpu-prof` and draws where its CPU time goes; `pnpm flame PROFILE SVG`
// draws a profile that is there.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseCommand } from '@sluice/cli';
import { today } from '../frame/machine.ts';
import { figure } from '../frame/table.ts';
import { flameGraph, flameTree, heaviest, type CpuProfile } from './flame-graph.ts';
import { flameLoads } from './flame-loads.ts';

const ROOT = join(import.meta.dirname, '../..');
const SHOWN = 12;

const names = Object.keys(flameLoads);
const { values, positionals } = parseCommand({
  name: 'pnpm flame',
  usage: `usage: pnpm flame NAME [--seconds N]   loads it, and draws docs/benchmarks/flame-NAME.svg
       pnpm flame PROFILE SVG        draws what \`node --cpu-prof\` has written

  NAME          ${names.slice(0, 5).join(', ')},
                ${names.slice(5).join(', ')}, or all
  --seconds N   how long it is loaded (default 8)`,
  options: { seconds: { type: 'string', default: '8' } },
  maxPositionals: 2,
});
const [what, target] = positionals;
if (what?.endsWith('.cpuprofile') === true && target !== undefined) {
  draw(what, target, basename(what));
} else {
  const wanted = what === 'all' ? names : names.filter((name) => name === what);
  if (wanted.length === 0 || target !== undefined) {
    console.error(`pnpm flame: nothing is named "${what ?? ''}"; see pnpm flame --help`);
    process.exit(2);
  }
  for (const name of wanted) {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-flame-'));
    try {
      const window = await flameLoads[name]!(folder, Number(values.seconds));
      const [profile] = readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'));
      if (profile === undefined) throw new Error(`${name} wrote no profile`);
      mkdirSync(join(ROOT, 'docs/benchmarks'), { recursive: true });
      draw(join(folder, profile), join(ROOT, `docs/benchmarks/flame-${name}.svg`), `${name}, ${today()}`, window);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  // Servers of the bench's own process may still have connections open.
  process.exit(0);
}

function draw(from: string, to: string, title: string, window?: readonly [number, number]): void {
  const tree = flameTree(JSON.parse(readFileSync(from, 'utf8')) as CpuProfile, ROOT, window);
  writeFileSync(to, flameGraph(tree, title));
  console.log(`${to}: ${figure(tree.us / 1e6)} s of CPU`);
  for (const [name, share] of heaviest(tree, SHOWN))
    console.log(`  ${(100 * share).toFixed(1).padStart(5)} %  ${name}`);
}
