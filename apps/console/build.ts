// `node apps/console/build.ts`: builds the console into dist/ unless what is there was built from the same sources.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import config from './vite.config.ts';

const ROOT = import.meta.dirname;
const DIST = join(ROOT, 'dist');
/** Names the sources that `dist/` was built from. Written last: without it, what is there may be half of a build. */
const STAMP = join(DIST, 'built-from.txt');

/** The console itself, and the client by which it asks the gateway. */
const SOURCES = ['src', '../../libs/client/src'];
const UNFINISHED_MS = 60_000;
const NONE = { mtimeMs: 0 };

/** Everything that decides what the build puts out. */
async function sourceDigest(): Promise<string> {
  const found = await Promise.all(
    SOURCES.map((folder) => readdir(join(ROOT, folder), { recursive: true, withFileTypes: true })),
  );
  const files = found
    .flat()
    .filter((entry) => entry.isFile() && !/\.test\.tsx?$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
  const digest = createHash('sha256');
  for (const file of [...files.sort(), 'index.html', 'vite.config.ts', 'package.json', 'build.ts']) {
    digest.update(`${file}\0`).update(await readFile(join(ROOT, file)));
  }
  return digest.digest('hex');
}

/**
 * Makes `dist/` current.
 *
 * Two starts of the system may build at the same time, and a gateway may read meanwhile: every file is put in its place
 * whole, the page after what it names, and what no longer belongs goes last.
 *
 * @returns whether it had to be built.
 */
export async function buildConsole(): Promise<boolean> {
  const digest = await sourceDigest();
  const built = await readFile(STAMP, 'utf8').catch(() => undefined);
  if (built === digest) return false;
  const { build } = await import('vite');
  const result = await build({
    ...config,
    configFile: false,
    logLevel: 'warn',
    build: { ...config.build, write: false },
  });
  if (!('output' in result)) throw new Error('Vite was asked for one build and answered with several or a watcher');
  const files = result.output.map((file) => ({
    name: file.fileName,
    content: file.type === 'chunk' ? file.code : file.source,
  }));
  const lastPage = files.toSorted((a, b) => Number(a.name.endsWith('.html')) - Number(b.name.endsWith('.html')));
  for (const { name, content } of lastPage) await put(join(DIST, name), content);
  await put(STAMP, digest);
  const kept = new Set([...files.map(({ name }) => join(DIST, name)), STAMP]);
  for (const entry of await readdir(DIST, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || kept.has(path)) continue;
    // A file that another build is just writing must stay; one that a killed build left behind must not.
    const isFresh = path.endsWith('.tmp') && Date.now() - (await stat(path).catch(() => NONE)).mtimeMs < UNFINISHED_MS;
    if (!isFresh) await rm(path, { force: true });
  }
  return true;
}

async function put(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}.tmp`;
  await writeFile(unfinished, content);
  await rename(unfinished, path);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const startedMs = performance.now();
  const made = await buildConsole();
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(made ? `console built in ${seconds} s` : 'console is current');
}
