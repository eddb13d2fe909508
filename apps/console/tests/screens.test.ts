import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, expectAccessible, NO_CHROMIUM, openPage } from './browser.ts';

/** What is promised is 2 s; the rest is for a machine that runs other tests beside. */
const SHOWN_WITHIN_MS = 4_000;
const SAMPLES = join(import.meta.dirname, '../../../samples');

describe.skipIf(CHROMIUM === undefined)(CHROMIUM === undefined ? `screens, skipped: ${NO_CHROMIUM}` : 'screens', () => {
  let directory: string;
  let stack: Stack;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
    // What is killed stays away for the length of a test.
    stack = await startStack({ dataDirectory: directory, imageReplicas: 2, restartAfterMs: 20_000 });
  });
  afterAll(async () => {
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('pictures are converted to one PDF, which is shown', { timeout: 120_000 }, async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try`);
    await page
      .getByLabel('Pictures', { exact: true })
      .setInputFiles(['photo.jpg', 'scan.png', 'screenshot.png'].map((name) => join(SAMPLES, name)));
    expect(await page.getByRole('list', { name: 'Chosen pictures' }).getByRole('listitem').count()).toBe(3);
    await page.getByRole('button', { name: 'Convert' }).click();
    await page.getByText('succeeded', { exact: true }).waitFor();
    const source = await page.getByTitle('The PDF').getAttribute('src');
    const pdf = await page.request.get(`${stack.urls.gateway}${source}`);
    expect((await pdf.body()).subarray(0, 5).toString()).toBe('%PDF-');
    await expectAccessible(page);

    // Its page tells of the same job; the list has it.
    await page.getByRole('link', { name: /^job_/ }).first().click();
    await page.getByRole('heading', { name: 'Stages' }).waitFor();
    await page.getByText('Conversion: attempt 1').waitFor();
    await expectAccessible(page);
    await page.getByRole('navigation', { name: 'Screens' }).getByRole('link', { name: 'Jobs' }).click();
    await page.getByRole('list', { name: 'Jobs' }).getByText('succeeded').first().waitFor();
    await expectAccessible(page);
    expect(faults).toEqual([]);
  });

  test('a picture that is broken says why in plain words', { timeout: 120_000 }, async () => {
    const broken = join(directory, 'broken.jpg');
    await writeFile(broken, (await readFile(join(SAMPLES, 'photo.jpg'))).subarray(0, 3_000));
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try`);
    await page.getByLabel('Pictures', { exact: true }).setInputFiles([broken]);
    await page.getByRole('button', { name: 'Convert' }).click();
    await page.getByText('The picture is damaged or not complete').waitFor();
    expect(faults).toEqual([]);
  });

  test('a mail of a template is sent', { timeout: 120_000 }, async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try/mail`);
    await page.getByLabel('To', { exact: true }).fill('grace@example.com');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('succeeded', { exact: true }).waitFor();
    expect(stack.mail.mailbox.all().length).toBeGreaterThan(0);
    await expectAccessible(page);
    expect(faults).toEqual([]);
  });

  test('a replica that is killed shows within two seconds, and when it is back', { timeout: 120_000 }, async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/overview`);
    const replica = page.getByRole('row', { name: /^image-2 / });
    await replica.getByText('up', { exact: true }).waitFor();
    await expectAccessible(page);
    stack.services.find(({ name }) => name === 'image-2')?.kill('SIGKILL');
    // The page itself measures: a busy machine may be late to ask it.
    const shownMs = await page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          const startedMs = performance.now();
          const look = (): void => {
            const rows = [...document.querySelectorAll('tr')];
            const isSilent = rows.some((row) => /image-2.*silent/.test(row.textContent));
            if (isSilent) resolve(performance.now() - startedMs);
            else requestAnimationFrame(look);
          };
          look();
        }),
    );
    expect(shownMs).toBeLessThan(SHOWN_WITHIN_MS);
    await page.getByText('Nothing was heard of this replica').waitFor();
    await replica.getByText('up', { exact: true }).waitFor();
    expect(faults).toEqual([]);
  });
});
