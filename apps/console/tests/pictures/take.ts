// `pnpm --filter @sluice/console pictures`: the pictures of docs/console/ and docs/cli/, taken on a running system.
// Names behind it take those screens alone: `pnpm --filter @sluice/console pictures job overview`.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { createClient } from '@sluice/client';
import { closeBrowser, closePages, openPage, type Page } from '../browser.ts';
import { shotsOf, type Shot } from './screens.ts';
import { SAMPLES, startPictured, type Pictured } from './stack.ts';
import { drawTerminal, runSluice } from './terminal.ts';

const DOCS = join(import.meta.dirname, '../../../../docs');
const OUT = join(DOCS, 'console');
const VARIANTS = [
  { suffix: 'light', colorScheme: 'light', viewport: { width: 1280, height: 860 } },
  { suffix: 'dark', colorScheme: 'dark', viewport: { width: 1280, height: 860 } },
  { suffix: 'phone-light', colorScheme: 'light', viewport: { width: 390, height: 844 } },
  { suffix: 'phone-dark', colorScheme: 'dark', viewport: { width: 390, height: 844 } },
] as const;
/** Two frames of a chart, and the fonts. */
const SETTLE_MS = 1_500;
/** A screen of text and lines needs no more, and takes a third of the bytes. */
const COLOURS = 128;

const wanted = process.argv.slice(2);
const directory = await mkdtemp(join(tmpdir(), 'sluice-pictures-'));
const pictured = await startPictured(directory);
const { stack, key } = pictured;
const api = stack.urls.gateway;
try {
  await mkdir(OUT, { recursive: true });
  const shots = shotsOf(pictured).filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  if (shots.some(({ name }) => name === 'overview')) pictured.killReplica();
  const pages = new Map<string, Page>();
  // Screen by screen in all its forms: a replica that was killed is back after a minute.
  for (const shot of shots) for (const variant of VARIANTS) await take(shot, variant, pages);
  await closePages();
  if (wanted.length === 0 || wanted.includes('cli')) await takeTerminal(pictured);
} finally {
  await closeBrowser();
  await stack.stop();
  await rm(directory, { recursive: true, force: true });
}

async function take(shot: Shot, variant: (typeof VARIANTS)[number], pages: Map<string, Page>): Promise<void> {
  const { suffix, ...options } = variant;
  const kept = shot.signedOut ? undefined : pages.get(suffix);
  const page = kept ?? (await openPage(options)).page;
  if (kept === undefined && !shot.signedOut) {
    pages.set(suffix, page);
    await page.goto(`${api}/#/account`);
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation', { name: 'Screens' }).waitFor();
  }
  await page.goto(new URL(shot.path, `${api}/`).href);
  await shot.ready(page);
  await page.waitForTimeout(SETTLE_MS);
  const name = `${shot.name}-${suffix}.png`;
  const picture = sharp(await page.screenshot()).png({ palette: true, colours: COLOURS, effort: 10 });
  await writeFile(join(OUT, name), await picture.toBuffer());
  console.log(name);
  if (shot.signedOut) await page.context().close();
}

async function takeTerminal({ stack: { urls } }: Pictured): Promise<void> {
  const cli = join(DOCS, 'cli');
  await mkdir(cli, { recursive: true });
  const work = join(directory, 'work');
  await cp(SAMPLES, join(work, 'samples'), { recursive: true });
  const broken = (await readFile(join(SAMPLES, 'photo.jpg'))).subarray(0, 3_000);
  await writeFile(join(work, 'samples/broken.jpg'), broken);
  const { page } = await openPage({ viewport: { width: 1280, height: 800 } });
  const env = { SLUICE_URL: urls.gateway, SLUICE_API_KEY: key };
  const draw = async (name: string, commands: readonly (readonly string[])[]): Promise<void> => {
    const shown = [];
    for (const words of commands) shown.push({ words, output: await runSluice(words, env, work) });
    await drawTerminal(page, join(cli, `${name}.png`), shown);
    console.log(`cli/${name}.png`);
  };
  const samples = ['samples/photo.jpg', 'samples/scan.png', 'samples/screenshot.png'];
  const welcome = ['ada@example.com', '--template', 'welcome', '--set', 'name=Ada'];
  await draw('make', [
    ['image', ...samples, '--wait', '--out', '.'],
    ['email', ...welcome, '--wait'],
  ]);
  const sluice = createClient({ baseUrl: urls.gateway, apiKey: key });
  await sluice.images.convert(broken, { waitSeconds: 30 });
  const failed = await sluice.jobs.list({ state: 'failed', limit: 1 });
  await draw('look', [
    ['job', 'list', '--limit', '5'],
    ['job', 'why', failed.jobs[0]?.id ?? ''],
    ['dlq', 'list'],
  ]);
}
