import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { flameGraph, flameTree, heaviest, nameOf, type CpuProfile } from './flame-graph.ts';

const ROOT = '/repository';
const frame = (functionName: string, file: string) => ({ functionName, url: file, lineNumber: 9 });
const ours = frame('accept', `file://${ROOT}/services/gateway/src/accept.ts`);
/** main calls accept, which calls itself and a package; then there is nothing to do. */
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)', ''), children: [2, 6] },
    { id: 2, callFrame: frame('main', 'node:internal/main'), children: [3] },
    { id: 3, callFrame: ours, children: [4, 5] },
    { id: 4, callFrame: ours },
    { id: 5, callFrame: frame('', `file://${ROOT}/node_modules/.pnpm/fastify@5/node_modules/fastify/lib/reply.js`) },
    { id: 6, callFrame: frame('(idle)', '') },
  ],
  samples: [2, 3, 4, 5, 5, 6],
  timeDeltas: [100, 200, 300, 400, 500, 10_000],
  startTime: 1_000,
};

test('time is counted in the function and in every caller of it, and idle time nowhere', () => {
  const tree = flameTree(profile, ROOT);
  const main = tree.children.get('main node:internal/main:10');
  const accept = main?.children.get('accept services/gateway/src/accept.ts:10');
  expect([tree.us, main?.us, accept?.us]).toEqual([1_500, 1_500, 1_400]);
  expect([...(accept?.children.values() ?? [])].map(({ name, us }) => [name, us])).toEqual([
    ['accept services/gateway/src/accept.ts:10', 300],
    ['(anonymous) fastify/lib/reply.js:10', 900],
  ]);
});

test('only what was sampled between two moments counts', () => {
  expect(flameTree(profile, ROOT, [1_000 + 300, 1_000 + 1_000]).us).toBe(200 + 300 + 400);
});

test('the functions that cost most by themselves come first', () => {
  expect(heaviest(flameTree(profile, ROOT), 2)).toEqual([
    ['(anonymous) fastify/lib/reply.js:10', 0.6],
    ['accept services/gateway/src/accept.ts:10', 500 / 1_500],
  ]);
});

test('a file is named as in the repository, without the path of the machine', () => {
  expect(nameOf(frame('f', 'file:///home/someone/other/thing.ts'), ROOT)).toBe('f thing.ts:10');
  expect(nameOf(frame('(garbage collector)', ''), ROOT)).toBe('(garbage collector)');
});

test('the picture is one document, names are escaped, and each box says its share', () => {
  const svg = flameGraph(flameTree(profile, ROOT), 'events & "jobs" <1>');
  expect(svg).toContain('events &amp; &quot;jobs&quot; &lt;1&gt;');
  expect(svg).toContain('<title>(anonymous) fastify/lib/reply.js:10, 60.0 %</title>');
  expect(svg.match(/<rect/g)).toHaveLength(1 + 5);
});

test('a deep and wide profile still makes a small file', () => {
  const tree = flameTree(profile, ROOT);
  for (let n = 0; n < 20_000; n += 1) tree.children.set(`f${n}`, { name: `f${n}`, us: 1_000 + n, children: new Map() });
  tree.us = [...tree.children.values()].reduce((sum, { us }) => sum + us, 0);
  expect(Buffer.byteLength(flameGraph(tree, 'wide'))).toBeLessThan(200_000);
});

test('what node --cpu-prof writes is read', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-flame-test-'));
  try {
    const script = join(folder, 'work.mjs');
    writeFileSync(
      script,
      'function spin() { for (let n = 0; n < 3e7; n++) Math.sqrt(n); }\nfor (let n = 0; n < 10; n++) spin();',
    );
    execFileSync(process.execPath, ['--cpu-prof', `--cpu-prof-dir=${folder}`, script]);
    const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
    const tree = flameTree(JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile, folder);
    expect(heaviest(tree, 1)[0]?.[0]).toBe('spin work.mjs:1');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
