// A reader finds one job among 100,000 by what they know of it, in a browser on a running gateway.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, NO_CHROMIUM, openPage, type Page } from '../../apps/console/tests/browser.ts';
import { fill } from '../../bench/history/fill.ts';

const JOBS = 100_000;
const FOUR_WEEKS_MS = 28 * 24 * 3_600_000;

describe.skipIf(CHROMIUM === undefined)(
  CHROMIUM === undefined ? `one job among 100,000, skipped: ${NO_CHROMIUM}` : 'one job among 100,000',
  () => {
    let directory: string;
    let stack: Stack;
    let page: Page;
    let faults: string[];
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'sluice-find-'));
      const history = `sqlite:${join(directory, 'history.sqlite')}`;
      await fill(history, JOBS, Date.now() - FOUR_WEEKS_MS);
      stack = await startStack({
        dataDirectory: join(directory, 'stack'),
        services: ['gateway'],
        env: { gateway: { READ_MODEL_URL: history } },
      });
      ({ page, faults } = await openPage());
    });
    afterAll(async () => {
      expect(faults).toEqual([]);
      await closeBrowser();
      await stack?.stop();
      await rm(directory, { recursive: true, force: true });
    });

    const rows = () => page.getByRole('list', { name: 'Jobs' }).getByRole('listitem');
    const find = async (text: string): Promise<void> => {
      await page.goto(`${stack.urls.gateway}/#/jobs`);
      await expect.poll(() => rows().count()).toBeGreaterThan(1);
      await page.getByRole('searchbox', { name: 'Find' }).fill(text);
      await page.keyboard.press('Enter');
    };

    test.each([
      ['the name of its file', 'scan-54322.png', 'scan-54322.png'],
      ['the name of its file, in another case', 'SCAN-54322.PNG', 'scan-54322.png'],
      ['its metadata', 'order=54321', 'order=54321'],
      ['the address that it was for', 'person-54321@example.com', 'order=54321'],
    ])('is found by %s', async (_, text, shown) => {
      await find(text);
      await expect.poll(() => rows().count()).toBe(1);
      expect(await rows().first().textContent()).toContain(shown);
      // The search is a place of its own: it can be sent to a colleague.
      await page.reload();
      await expect.poll(() => rows().count()).toBe(1);
      await rows().first().getByRole('link').click();
      await page.getByRole('heading', { level: 1, name: /^job_/ }).waitFor();
      await page.getByText(shown.replace('order=', ''), { exact: true }).first().waitFor();
    });

    test('that is not there is said so', async () => {
      await find('scan-54321.png');
      await page.getByText('Nothing matches.').waitFor();
    });
  },
);
