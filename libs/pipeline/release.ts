// Builds the package that is published, in `out/package`: `node release.ts`, then `npm publish out/package --provenance`.
//
// The sources run as they are in this repository, so its package.json points at them. What is published has JavaScript,
// types and source maps instead, and a package.json of its own: npm and pnpm publish it alike.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;
const out = join(here, 'out/package');

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly devDependencies?: unknown;
  readonly scripts?: unknown;
  readonly [field: string]: unknown;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const tsc = join(here, 'node_modules/.bin/tsc');
const built = spawnSync(tsc, ['-p', 'tsconfig.build.json', '--outDir', join(out, 'dist')], {
  cwd: here,
  stdio: 'inherit',
});
if (built.status !== 0) process.exit(built.status ?? 1);

// The compiler rewrites the imports of JavaScript alone.
for (const name of readdirSync(join(out, 'dist'), { recursive: true, encoding: 'utf8' })) {
  if (!name.endsWith('.d.ts')) continue;
  const path = join(out, 'dist', name);
  const types = readFileSync(path, 'utf8').replaceAll(/((?:from |import\()(['"])\.[^'"]+)\.ts\2/g, '$1.js$2');
  writeFileSync(path, types);
}

const {
  devDependencies: _,
  scripts: __,
  ...manifest
} = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')) as Manifest;
const entries = Object.entries(manifest.exports).map(([path, source]) => {
  const file = source.replace(/^\.\/src\//, './dist/').replace(/\.ts$/, '');
  return { path, types: `${file}.d.ts`, default: `${file}.js` };
});
const [main] = entries;
// Provenance compares it with where the package was built.
const remote = spawnSync('git', ['remote', 'get-url', 'origin'], { cwd: here, encoding: 'utf8' }).stdout.trim();
const published = {
  ...manifest,
  // A clone of a folder has no address that others could follow.
  ...(!/^(?:https:|ssh:|git@)/.test(remote)
    ? {}
    : { repository: { type: 'git', url: remote, directory: 'libs/pipeline' } }),
  main: main?.default,
  types: main?.types,
  exports: {
    ...Object.fromEntries(entries.map(({ path, ...files }) => [path, files])),
    './package.json': './package.json',
  },
  // For `moduleResolution: node10`, which knows no `exports`.
  typesVersions: {
    '*': Object.fromEntries(
      entries.filter(({ path }) => path !== '.').map(({ path, types }) => [path.slice(2), [types]]),
    ),
  },
};
writeFileSync(join(out, 'package.json'), `${JSON.stringify(published, undefined, 2)}\n`);
for (const name of ['README.md', 'OPTIONS.md', 'FAULTS.md', 'CHANGELOG.md', 'LICENSE'])
  cpSync(join(here, name), join(out, name));
console.log(`${String(manifest['name'])} ${String(manifest['version'])} is in ${out}`);
