// `pnpm --filter @sluice/console pictures`: the pictures of docs/console/, taken on a running system.
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import type { Page } from 'playwright-core';
import { closeBrowser, openPage } from './browser.ts';

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
    ['dead-letters', '#/dead-letters', (page) => page.getByText('could not be read').first().waitFor()],
    [
      'try',
      '#/try',
      async (page) => {
        const files = ['photo.jpg', 'scan.png', 'screenshot.png'].map((name) => join(ROOT, 'samples', name));
        await page.getByLabel('Pictures', { exact: true }).setInputFiles(files);
        await page.getByRole('button', { name: 'Convert' }).click();
        await page.getByText('succeeded', { exact: true }).waitFor();
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
} finally {
  await closeBrowser();
  await stack.stop();
  await rm(directory, { recursive: true, force: true });
}
