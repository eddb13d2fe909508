import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, NO_CHROMIUM, openPage, type Page } from './browser.ts';

const SAMPLES = join(import.meta.dirname, '../../../samples');
const MOST_TABS = 80;

/** What the focus is on, as a screen reader names it, nearly. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const element = document.activeElement;
    if (element === null) return '';
    const label = element instanceof HTMLInputElement ? element.labels?.[0]?.textContent : undefined;
    return element.getAttribute('aria-label') ?? label ?? element.textContent ?? '';
  });

/** Presses Tab until the focus is there. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  for (let n = 0; n < MOST_TABS; n += 1) {
    await page.keyboard.press('Tab');
    const on = await focused(page);
    if (name.test(on.trim())) {
      // What has the focus can be seen.
      expect(await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle)).not.toBe('none');
      return;
    }
  }
  throw new Error(`Tab does not come to ${String(name)}; it is on "${await focused(page)}"`);
}

describe.skipIf(CHROMIUM === undefined)(
  CHROMIUM === undefined ? `keyboard, skipped: ${NO_CHROMIUM}` : 'keyboard',
  () => {
    let directory: string;
    let stack: Stack;
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
      stack = await startStack({ dataDirectory: directory, services: ['gateway', 'image'] });
    });
    afterAll(async () => {
      await closeBrowser();
      await stack?.stop();
      await rm(directory, { recursive: true, force: true });
    });

    test('alone converts a picture, reruns its job, and is never lost', async () => {
      const { page, faults } = await openPage();
      page.on('filechooser', (chooser) => void chooser.setFiles([join(SAMPLES, 'scan.png')]));
      await page.goto(`${stack.urls.gateway}/`);
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('Skip to the content');
      await tabTo(page, /^Try it$/);
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Try it' }).waitFor();
      await tabTo(page, /^Choose files$/);
      await page.keyboard.press('Enter');
      await tabTo(page, /^Convert$/);
      await page.keyboard.press('Enter');
      await page.getByText('succeeded', { exact: true }).waitFor();
      await tabTo(page, /^job_/);
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Stages' }).waitFor();

      await page.keyboard.press('Tab');
      await page.goto(`${stack.urls.gateway}/#/jobs`);
      await page.getByRole('list', { name: 'Jobs' }).getByText('succeeded').waitFor();
      await tabTo(page, /^Choose job_/);
      await page.keyboard.press('Space');
      // The buttons for what is chosen are above the list.
      await page.keyboard.down('Shift');
      await tabTo(page, /^Rerun 1$/);
      await page.keyboard.up('Shift');
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      expect(await focused(page)).toBe('Rerun 1');
      await page.keyboard.press('Enter');
      await tabTo(page, /^Rerun them$/);
      await page.keyboard.press('Enter');
      await page.getByText('1 of 1 sent again').waitFor();
      // The button that asked is gone: the focus is on the screen, from where Tab goes on.
      expect(await page.evaluate(() => document.activeElement?.id)).toBe('content');
      expect(faults).toEqual([]);
    });
  },
);
