// `pnpm --filter @sluice/console pictures`: the pictures of docs/console/ and docs/cli/, taken on a running system.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import type { Page } from 'playwright-core';
import { closeBrowser, openPage } from './browser.ts';
import { drawTerminal, runSluice } from './terminal.ts';

const ROOT = join(import.meta.dirname, '../../..');
const OUT = join(ROOT, 'docs/console');

const directory = await mkdtemp(join(tmpdir(), 'sluice-pictures-'));
const stack = await startStack({ dataDirectory: directory, imageReplicas: 2, restartAfterMs: 60_000 });
const api = stack.urls.gateway;
const post = async (path: string, body: Uint8Array | object): Promise<string> => {
  const isBytes = body instanceof Uint8Array;
  const answer = await fetch(`${api}${path}`, {
    method: 'POST',
    headers: { prefer: 'wait=20', ...(isBytes ? {} : { 'content-type': 'application/json' }) },
    body: isBytes ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body),
  });
  const { id } = (await answer.json()) as { id?: string };
  if (id === undefined) throw new Error(`${path}: ${answer.status}`);
  return id;
};

try {
  await mkdir(OUT, { recursive: true });
  const photo = await readFile(join(ROOT, 'samples/photo.jpg'));
  const scan = await readFile(join(ROOT, 'samples/scan.png'));
  for (const name of ['Ada', 'Grace', 'Edsger', 'Barbara']) {
    const to = `${name.toLowerCase()}@example.com`;
    await post('/v1/emails', { to, template: 'welcome', variables: { name } });
  }
  await post('/v1/images', photo.subarray(0, 3_000));
  await post('/v1/images?pageSize=a4&priority=express', photo);
  const job = await post('/v1/images', scan);
  const nc = await connectNats({ url: stack.urls.nats, name: 'pictures' });
  for (let n = 0; n < 3; n += 1) nc.publish('image.convert.binary', new Uint8Array([255, 255, n]));
  await nc.drain();
  stack.services.find(({ name }) => name === 'image-2')?.kill('SIGKILL');

  const shots: readonly (readonly [string, string, (page: Page) => Promise<unknown>])[] = [
    ['overview', '#/overview', (page) => page.getByText('silent', { exact: true }).waitFor()],
    ['jobs', '#/jobs', (page) => page.getByRole('list', { name: 'Jobs' }).getByText('succeeded').first().waitFor()],
    ['job', `#/jobs/${job}`, (page) => page.getByText('Conversion: attempt 1').waitFor()],
    ['dead-letters', '#/dead-letters', (page) => page.getByText('3 × binary_to_pdf could not be read').waitFor()],
    [
      'try',
      '#/try',
      async (page) => {
        const files = ['photo.jpg', 'scan.png', 'screenshot.png'].map((name) => join(ROOT, 'samples', name));
        await page.getByLabel('Pictures', { exact: true }).setInputFiles(files);
        await page.getByRole('button', { name: 'Convert' }).click();
        await page.getByText('succeeded', { exact: true }).waitFor();
        // The viewer of the browser draws the PDF in its own time.
        await page.waitForTimeout(5_000);
        await page.evaluate(() => scrollTo(0, 0));
      },
    ],
    [
      'load',
      '#/load',
      async (page) => {
        await page.getByLabel('Jobs', { exact: true }).fill('120');
        await page.getByRole('button', { name: 'Start' }).click();
        await page.getByText('done', { exact: true }).waitFor({ timeout: 120_000 });
      },
    ],
  ];
  for (const [colorScheme, width, height, suffix, wanted] of [
    ['light', 1280, 860, 'light', ['overview', 'job', 'dead-letters']],
    ['dark', 1280, 860, 'dark', ['overview', 'try', 'load']],
    ['light', 390, 844, 'phone', ['jobs']],
    ['dark', 390, 844, 'phone-dark', ['job']],
  ] as const) {
    const { page } = await openPage({ colorScheme, viewport: { width, height } });
    for (const [name, place, ready] of shots.filter(([shot]) => wanted.some((each) => each === shot))) {
      await page.goto(`${api}/${place}`);
      await ready(page);
      // Two frames of the chart, and the fonts.
      await page.waitForTimeout(1_500);
      await page.screenshot({ path: join(OUT, `${name}-${suffix}.png`) });
      console.log(`${name}-${suffix}.png`);
    }
    await page.context().close();
  }

  const cli = join(ROOT, 'docs/cli');
  await mkdir(cli, { recursive: true });
  const work = join(directory, 'work');
  await cp(join(ROOT, 'samples'), join(work, 'samples'), { recursive: true });
  await writeFile(join(work, 'samples/broken.jpg'), photo.subarray(0, 3_000));
  const { page } = await openPage({ viewport: { width: 1280, height: 800 } });
  const draw = async (name: string, commands: readonly (readonly string[])[]): Promise<void> => {
    const shown = [];
    for (const words of commands) shown.push({ words, output: await runSluice(words, { SLUICE_URL: api }, work) });
    await drawTerminal(page, join(cli, `${name}.png`), shown);
    console.log(`cli/${name}.png`);
  };
  const samples = ['samples/photo.jpg', 'samples/scan.png', 'samples/screenshot.png'];
  const welcome = ['ada@example.com', '--template', 'welcome', '--set', 'name=Ada'];
  await draw('make', [
    ['image', ...samples, '--wait', '--out', '.'],
    ['email', ...welcome, '--wait'],
  ]);
  await post('/v1/images', await readFile(join(work, 'samples/broken.jpg')));
  const failed = (await (await fetch(`${api}/v1/jobs?state=failed&limit=1`)).json()) as { jobs: { id: string }[] };
  await draw('look', [
    ['job', 'list', '--limit', '5'],
    ['job', 'why', failed.jobs[0]?.id ?? ''],
    ['dlq', 'list'],
  ]);
} finally {
  await closeBrowser();
  await stack.stop();
  await rm(directory, { recursive: true, force: true });
}
