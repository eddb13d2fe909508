import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, expectAccessible, NO_CHROMIUM, openPage } from './browser.ts';

const KEYS = join(import.meta.dirname, '../../../services/gateway/src/cli/keys.ts');

describe.skipIf(CHROMIUM === undefined)(CHROMIUM === undefined ? `access, skipped: ${NO_CHROMIUM}` : 'access', () => {
  let directory: string;
  let stack: Stack;
  const keys = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, NATS_URL: stack.urls.nats, SLUICE_ENV: 'dev' };
    return (await promisify(execFile)(process.execPath, [KEYS, ...args], { env })).stdout;
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
    stack = await startStack({ dataDirectory: directory, services: ['gateway'], env: { gateway: { AUTH: 'keys' } } });
  });
  afterAll(async () => {
    await closeBrowser();
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('a reader signs in, sees what the key may see, and signs out', async () => {
    const key = /sk_[\w-]+/.exec(await keys('create', 'reader', 'jobs:read'))?.[0] ?? '';
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/jobs`);
    await page.getByRole('heading', { name: 'Sign in to Sluice' }).waitFor();
    await expectAccessible(page);
    await page.getByLabel('API key').fill('sk_wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('This key is not known.').waitFor();

    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Jobs' }).waitFor();
    expect(await page.getByRole('navigation', { name: 'Screens' }).getByRole('link').allTextContents()).toEqual([
      'Jobs',
      'Mail',
    ]);
    await page.goto(`${stack.urls.gateway}/#/overview`);
    await page.getByText('Your key may not see this.').waitFor();

    // The session outlives the page, and scripts cannot read it.
    await page.reload();
    await page.getByText('Your key may not see this.').waitFor();
    expect(await page.evaluate(() => document.cookie)).toBe('');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in to Sluice' }).waitFor();
    expect(faults).toEqual([]);
  });

  test('a key that is revoked ends the session, and the page says so', async () => {
    const key = /sk_[\w-]+/.exec(await keys('create', 'operator', 'admin', 'jobs:read', 'jobs:write'))?.[0] ?? '';
    const { page } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/overview`);
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    // Server-sent events come with the session.
    await page.getByText('live', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Pause commands' }).click();
    await page.getByText('paused', { exact: true }).waitFor();
    await page.getByRole('navigation', { name: 'Screens' }).getByRole('link', { name: 'Jobs' }).click();
    await page.getByText('No jobs here').waitFor();
    await keys('revoke', key.slice(0, 11));
    await page.getByRole('heading', { name: 'Sign in to Sluice' }).waitFor();
  });
});
