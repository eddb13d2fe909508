import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startNats } from '@sluice/dev';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const tsc = join(root, 'node_modules/.bin/tsc');
const blocks = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
  ([, code = '']) => code,
);

test('the quick start of the README, pasted into an empty folder with the packed tarball, type-checks and runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-pack-'));
  const server = await startNats();
  try {
    // pnpm itself applies publishConfig; the package's own script builds what goes in.
    await run('npx', ['--yes', 'pnpm@12.21.0', 'pack', '--pack-destination', folder], { cwd: root, timeout: 60_000 });
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
    await run('tar', ['xzf', tarball], { cwd: folder });
    const files = new Set(readdirSync(join(folder, 'package')));
    expect(files).toEqual(new Set(['LICENSE', 'OPTIONS.md', 'README.md', 'dist', 'package.json']));
    const manifest = JSON.parse(readFileSync(join(folder, 'package/package.json'), 'utf8')) as {
      dependencies?: object;
      exports: object;
    };
    expect(Object.keys(manifest.dependencies ?? {})).toEqual([]);
    expect(Object.keys(manifest.exports)).toEqual(['.', './nats', './memory']);

    const app = join(folder, 'app');
    mkdirSync(join(app, 'node_modules/@sluice'), { recursive: true });
    mkdirSync(join(app, 'node_modules/@nats-io'), { recursive: true });
    cpSync(join(folder, 'package'), join(app, 'node_modules/@sluice/pipeline'), { recursive: true });
    // What `npm install` would fetch.
    for (const name of ['jetstream', 'transport-node']) {
      symlinkSync(join(root, 'node_modules/@nats-io', name), join(app, 'node_modules/@nats-io', name));
    }
    symlinkSync(join(root, '../../node_modules/@types'), join(app, 'node_modules/@types'));
    writeFileSync(join(app, 'package.json'), '{"type":"module"}');
    writeFileSync(join(app, 'index.ts'), blocks[0] ?? '');
    const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', '--types', 'node'];
    await run(
      tsc,
      [...strict, '--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024,esnext.disposable', 'index.ts'],
      {
        cwd: app,
      },
    );
    const { stdout } = await run(process.execPath, ['index.ts'], {
      cwd: app,
      env: { ...process.env, NATS_URL: server.url },
    });
    expect(stdout).toBe('hello, world\n');
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
