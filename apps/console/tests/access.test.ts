import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
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
    // What is not offered is refused as well.
    const refused = await page.evaluate(async () => {
      const json = { 'content-type': 'application/json' };
      const { csrfToken } = (await (await fetch('/v1/session')).json()) as { csrfToken: string };
      const headers = { ...json, 'x-csrf-token': csrfToken };
      const answers = await Promise.all([
        fetch('/v1/jobs'),
        fetch('/v1/system/stream'),
        fetch('/v1/dead-letters'),
        fetch('/v1/dead-letters:purge', { method: 'POST', headers, body: '{"reason":"decode"}' }),
        fetch('/v1/pipelines/commands:pause', { method: 'POST', headers }),
        fetch('/v1/emails', { method: 'POST', headers, body: '{}' }),
      ]);
      return answers.map(({ status }) => status);
    });
    expect(refused).toEqual([200, 403, 403, 403, 403, 403]);

    // The session outlives the page, and scripts cannot read it.
    await page.reload();
    await page.getByText('Your key may not see this.').waitFor();
    expect(await page.evaluate(() => document.cookie)).toBe('');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in to Sluice' }).waitFor();
    expect(faults).toEqual([]);
  });

  test('a page of another origin changes nothing, although its requests carry the cookie', async () => {
    const key = /sk_[\w-]+/.exec(await keys('create', 'lured', 'admin', 'jobs:read', 'jobs:write'))?.[0] ?? '';
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/overview`);
    await page.getByLabel('API key').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('live', { exact: true }).waitFor();

    // Another port of the same host is the same site: its requests carry a cookie that is SameSite=Strict.
    const cookies: string[] = [];
    await page.route(`${stack.urls.gateway}/**`, async (route) => {
      cookies.push((await route.request().allHeaders())['cookie'] ?? '');
      await route.continue();
    });
    const attacker = createServer((_, response) =>
      response.setHeader('content-type', 'text/html').end('<p>A prize!</p>'),
    );
    attacker.listen(0, '127.0.0.1');
    await once(attacker, 'listening');
    await page.goto(`http://127.0.0.1:${(attacker.address() as AddressInfo).port}/`);
    const read = await page.evaluate(async (gateway) => {
      const send = (path: string, init: RequestInit): Promise<string> =>
        fetch(`${gateway}${path}`, { credentials: 'include', ...init }).then(
          (answer) => answer.text(),
          () => 'not readable',
        );
      return [
        await send('/v1/session', {}),
        await send('/v1/pipelines/commands:pause', { method: 'POST', mode: 'no-cors' }),
        await send('/v1/pipelines/commands:pause', { method: 'POST', body: '{}', mode: 'no-cors' }),
        await send('/v1/emails', {
          method: 'POST',
          body: '{"to":"ada@example.com","template":"welcome"}',
          mode: 'no-cors',
        }),
      ];
    }, stack.urls.gateway);
    expect(read).toEqual(['not readable', '', '', '']);
    expect(cookies.filter((cookie) => cookie.includes('=')).length).toBeGreaterThan(2);
    await page.evaluate((gateway) => {
      const form = document.body.appendChild(document.createElement('form'));
      form.method = 'POST';
      form.enctype = 'text/plain';
      form.action = `${gateway}/v1/pipelines/commands:pause`;
      form.submit();
    }, stack.urls.gateway);
    await page.getByText('forbidden').first().waitFor();
    attacker.close();
    attacker.closeAllConnections();
    const headers = { authorization: `Bearer ${key}` };
    const { paused } = (await (await fetch(`${stack.urls.gateway}/v1/system`, { headers })).json()) as {
      paused: unknown[];
    };
    const { jobs } = (await (await fetch(`${stack.urls.gateway}/v1/jobs`, { headers })).json()) as { jobs: unknown[] };
    expect([paused, jobs]).toEqual([[], []]);
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
