import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { startNats } from '@sluice/dev';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const tsc = join(root, 'node_modules/.bin/tsc');
const [quickStart = ''] = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
  ([, code = '']) => code,
);

/** A program that uses the entries which the quick start does not. */
const entries = `
import { definePipeline } from '@sluice/pipeline';
import type { Source } from '@sluice/pipeline/conformance';
import { pipelineTracing } from '@sluice/pipeline/otel';
import { pipelineMetrics } from '@sluice/pipeline/prometheus';
import { createHarness, startInMemory } from '@sluice/pipeline/testing';
import { Registry } from 'prom-client';

const pipeline = definePipeline<string>({
  name: 'greeter',
  sources: [{ stream: 'greetings', consumer: 'greeter' }],
  decode: (bytes) => new TextDecoder().decode(bytes),
  handle: async (message) => console.log('hello, ' + message.data),
});
const registry = new Registry();
const metrics = pipelineMetrics({ registry });
const tracing = pipelineTracing();
console.log((await createHarness(pipeline, undefined).deliver('harness')).outcome);
const started = await startInMemory(pipeline, {
  deps: undefined,
  observe: metrics.observe,
  instrument: tracing.instrument,
});
metrics.watch('greeter', started.running);
await started.send(['memory']);
await started.close();
console.log(/settled_total.*as="ack".* 1$/m.test(await registry.metrics()));
export const places = (source: Source): Source['place'] => source.place;
`;

let folder: string;
let tarball: string;
let app: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-pack-'));
  await run(process.execPath, ['release.ts'], { cwd: root });
  await run('npm', ['pack', '--pack-destination', folder], { cwd: join(root, 'out/package') });
  tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '');
  app = join(folder, 'app');
  mkdirSync(join(app, 'node_modules/@sluice'), { recursive: true });
  mkdirSync(join(app, 'node_modules/@nats-io'), { recursive: true });
  await run('tar', ['xzf', tarball, '-C', join(app, 'node_modules/@sluice')]);
  await run('mv', [join(app, 'node_modules/@sluice/package'), join(app, 'node_modules/@sluice/pipeline')]);
  // What `npm install` would fetch.
  for (const name of ['jetstream', 'transport-node']) {
    symlinkSync(join(root, 'node_modules/@nats-io', name), join(app, 'node_modules/@nats-io', name));
  }
  symlinkSync(join(root, '../../node_modules/@types'), join(app, 'node_modules/@types'));
  writeFileSync(join(app, 'package.json'), '{"type":"module"}');
  // The optional peers, for the entries that are made for them.
  mkdirSync(join(app, 'node_modules/@opentelemetry'));
  for (const name of ['@opentelemetry/api', 'prom-client', 'vitest']) {
    symlinkSync(join(root, 'node_modules', name), join(app, 'node_modules', name));
  }
  writeFileSync(join(app, 'entries.ts'), entries);
  writeFileSync(join(app, 'entries.js'), stripTypeScriptTypes(entries));
  writeFileSync(join(app, 'index.ts'), quickStart);
  writeFileSync(join(app, 'plain.js'), stripTypeScriptTypes(quickStart));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const installed = (): string => join(app, 'node_modules/@sluice/pipeline');

test('the tarball has what it needs, source maps included, and depends on nothing', () => {
  expect(new Set(readdirSync(installed()))).toEqual(
    new Set(['CHANGELOG.md', 'FAULTS.md', 'LICENSE', 'OPTIONS.md', 'README.md', 'dist', 'package.json']),
  );
  const manifest = JSON.parse(readFileSync(join(installed(), 'package.json'), 'utf8')) as Record<string, object>;
  expect(manifest['dependencies']).toBeUndefined();
  expect(Object.keys(manifest['exports'] ?? {})).toEqual([
    '.',
    './nats',
    './memory',
    './testing',
    './conformance',
    './otel',
    './prometheus',
    './package.json',
  ]);
  const files = readdirSync(join(installed(), 'dist'));
  expect(files).toContain('index.js.map');
  expect(readFileSync(join(installed(), 'dist/index.d.ts'), 'utf8')).not.toMatch(/\.ts'/);
});

test('publint has nothing to say', async () => {
  const { messages, pkg } = await publint({ pkgDir: installed(), strict: true, pack: false });
  expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
});

test('the types resolve for node10, node16 and bundlers', async () => {
  const analysis = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
  if (analysis.types === false) throw new Error('the package has no types');
  // An ESM package cannot be required by TypeScript's node16 rules; Node itself can, from version 22 on.
  const problems = analysis.problems.filter(({ kind }) => kind !== 'CJSResolvesToESM');
  expect(problems).toEqual([]);
});

test.each([
  ['nodenext', 'nodenext'],
  ['node16', 'node16'],
  ['esnext', 'bundler'],
])(
  'the quick start and the other entries, pasted into an empty folder, type-check with module %s and resolution %s',
  async (module, resolution) => {
    const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', '--types', 'node'];
    const target = ['--target', 'es2024', '--lib', 'es2024,esnext.disposable'];
    const files = ['index.ts', 'entries.ts'];
    await run(tsc, [...strict, ...target, '--module', module, '--moduleResolution', resolution, ...files], {
      cwd: app,
    });
  },
  60_000,
);

test.each(['index.ts', 'plain.js'])(
  '%s runs',
  async (file) => {
    const server = await startNats();
    try {
      const { stdout } = await run(process.execPath, [file], {
        cwd: app,
        env: { ...process.env, NATS_URL: server.url },
      });
      expect(stdout).toBe('hello, world\n');
    } finally {
      await server.stop();
    }
  },
  60_000,
);

test.each(['entries.ts', 'entries.js'])('the other entries run: %s', async (file) => {
  const { stdout } = await run(process.execPath, [file], { cwd: app });
  expect(stdout).toBe('hello, harness\nack\nhello, memory\ntrue\n');
});
