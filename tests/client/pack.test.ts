// The package as it is published, in an empty folder: what its README says is typed, runs in Node and in a page.
import { execFile } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, NO_CHROMIUM, openPage } from '../../apps/console/tests/browser.ts';
import { bundle } from '../../apps/console/tests/bundle.ts';
import { startRig, type Rig } from '../../services/gateway/tests/rig.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const library = join(root, 'libs/client');
const tsc = join(library, 'node_modules/.bin/tsc');
const examples = [...readFileSync(join(library, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
  ([, code = '']) => code,
);

/** What a page does with the file that its reader chose. */
const page = `
import { createClient } from '@sluice/client';

const sluice = createClient();
const input = document.querySelector('input')!;
input.addEventListener('change', async () => {
  const job = await sluice.images.convert(input.files![0]!, { onProgress: ({ sentBytes }) => console.log(sentBytes) });
  for await (const event of sluice.jobs.watch(job)) console.log(event.app, event.event);
  const ended = await sluice.jobs.waitFor(job);
  const pdf = await sluice.jobs.pdf(ended);
  document.querySelector('p')!.textContent = ended.state + ' ' + (await pdf.text()).slice(0, 5);
});
`;

let folder: string;
let app: string;
let rig: Rig;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-client-'));
  // As the release does it: pnpm puts the fields of publishConfig in their places.
  await run('npx', ['pnpm', '--filter', '@sluice/client', 'pack', '--out', join(folder, 'client.tgz')], { cwd: root });
  app = join(folder, 'app');
  mkdirSync(join(app, 'node_modules/@sluice/client'), { recursive: true });
  const place = join(app, 'node_modules/@sluice/client');
  await run('tar', ['xzf', join(folder, 'client.tgz'), '-C', place, '--strip-components=1']);
  // What `npm install` would fetch.
  for (const name of ['eventsource-parser', 'openapi-fetch']) {
    symlinkSync(join(library, 'node_modules', name), join(app, 'node_modules', name));
  }
  symlinkSync(join(root, 'node_modules/@types'), join(app, 'node_modules/@types'));
  writeFileSync(join(app, 'package.json'), '{"type":"module"}');
  for (const [index, code] of examples.entries()) writeFileSync(join(app, `example-${index}.ts`), code);
  writeFileSync(join(app, 'quick-start.js'), stripTypeScriptTypes(examples[0] ?? ''));
  writeFileSync(join(app, 'page.ts'), page);
  copyFileSync(join(root, 'samples/photo.jpg'), join(app, 'photo.jpg'));
  rig = await startRig();
  await rig.workers();
});
afterAll(async () => {
  await closeBrowser();
  await rig?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('the archive has what it needs and nothing else', () => {
  const place = join(app, 'node_modules/@sluice/client');
  expect(readdirSync(place).toSorted()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json']);
  const manifest = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8')) as Record<string, unknown>;
  expect(manifest['exports']).toEqual({ '.': { types: './dist/index.d.ts', default: './dist/index.js' } });
  expect(Object.keys(manifest['dependencies'] as object)).toEqual(['eventsource-parser', 'openapi-fetch']);
});

test.each([
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('every example of the README type-checks with module %s and resolution %s', async (module, resolution) => {
  const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--types', 'node'];
  const target = ['--target', 'es2024', '--lib', 'es2024,esnext.disposable,dom,dom.iterable', '--skipLibCheck'];
  const files = [...examples.keys()].map((index) => `example-${index}.ts`);
  await run(tsc, [...strict, ...target, '--module', module, '--moduleResolution', resolution, ...files, 'page.ts'], {
    cwd: app,
  });
});

test.each(['example-0.ts', 'quick-start.js'])('%s runs in Node and leaves a PDF', async (file) => {
  const env = { ...process.env, SLUICE_URL: rig.gateway.url };
  const { stdout } = await run(process.execPath, [file], { cwd: app, env });
  expect(stdout).toContain('gateway published\n');
  expect(stdout).toMatch(/\nsucceeded\n$/);
  expect(readFileSync(join(app, 'photo.pdf'), 'latin1')).toMatch(/^%PDF-/);
  rmSync(join(app, 'photo.pdf'));
});

test.skipIf(CHROMIUM === undefined)(
  CHROMIUM === undefined ? `a page that bundles it, skipped: ${NO_CHROMIUM}` : 'a page that bundles it converts a file',
  async () => {
    const script = await bundle(app, 'page.ts');
    const opened = await openPage();
    // The page and the API are one origin.
    await opened.page.route(`${rig.gateway.url}/app/*`, (route) =>
      route.request().url().endsWith('.js')
        ? route.fulfill({ contentType: 'text/javascript', body: script })
        : route.fulfill({
            contentType: 'text/html',
            body: '<!doctype html><input type="file"><p></p><script type="module" src="page.js"></script>',
          }),
    );
    await opened.page.goto(`${rig.gateway.url}/app/`);
    await opened.page.locator('input').setInputFiles(join(app, 'photo.jpg'));
    await opened.page.getByText('succeeded %PDF-').waitFor();
    expect(opened.faults).toEqual([]);
  },
);
