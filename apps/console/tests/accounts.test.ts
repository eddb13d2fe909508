import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startStack, type Stack } from '@sluice/dev';
import { signedHeaders } from '../../../services/gateway/src/webhooks/signature.ts';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, closePages, expectAccessible, NO_CHROMIUM, openPage } from './browser.ts';

const KEYS = join(import.meta.dirname, '../../../services/gateway/src/cli/keys.ts');
const timeout = 120_000;

describe.skipIf(CHROMIUM === undefined)(
  CHROMIUM === undefined ? `accounts, skipped: ${NO_CHROMIUM}` : 'accounts',
  () => {
    let directory: string;
    let stack: Stack;
    const received: { readonly headers: IncomingHttpHeaders; readonly body: string }[] = [];
    const receiver = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => (body += String(part)));
      request.on('end', () => {
        received.push({ headers: request.headers, body });
        response.writeHead(request.url === '/gone' ? 410 : 204).end();
      });
    });
    const receiverUrl = (path: string): string => `http://127.0.0.1:${(receiver.address() as AddressInfo).port}${path}`;
    const signIn = async (
      account: string,
      ...scopes: string[]
    ): Promise<{ page: Page; faults: string[]; key: string }> => {
      const env = { ...process.env, NATS_URL: stack.urls.nats, SLUICE_ENV: 'dev' };
      const { stdout } = await promisify(execFile)(process.execPath, [KEYS, 'create', account, ...scopes], { env });
      const key = /sk_[\w-]+/.exec(stdout)?.[0] ?? '';
      const opened = await openPage();
      await opened.page.goto(`${stack.urls.gateway}/#/account`);
      await opened.page.getByLabel('API key').fill(key);
      await opened.page.getByRole('button', { name: 'Sign in' }).click();
      await opened.page.getByRole('navigation', { name: 'Screens' }).waitFor();
      return { ...opened, key };
    };

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
      receiver.listen(0, '127.0.0.1');
      await once(receiver, 'listening');
      stack = await startStack({
        dataDirectory: directory,
        services: ['gateway', 'email'],
        env: { gateway: { AUTH: 'keys', CREDITS: 'on', WEBHOOK_TARGETS: 'any' } },
      });
    });
    afterEach(closePages);
    afterAll(async () => {
      await closeBrowser();
      await stack?.stop();
      receiver.close();
      await rm(directory, { recursive: true, force: true });
    });

    test('a key is made, shown once and revoked, and gives nothing its maker lacks', { timeout }, async () => {
      const { page, faults } = await signIn('maker', 'account:read', 'keys', 'jobs:read');
      const panel = page.getByRole('region', { name: 'API keys' });
      await panel.getByRole('checkbox', { name: /^jobs:read/ }).waitFor();
      expect(await panel.getByRole('checkbox').count()).toBe(3);
      await expectAccessible(page);
      await panel.getByRole('button', { name: 'Make a key' }).click();
      const made = (await panel.locator('code.secret').textContent()) ?? '';
      expect(made).toMatch(/^sk_[\w-]{43}$/);
      const ask = async () =>
        (await fetch(`${stack.urls.gateway}/v1/jobs`, { headers: { authorization: `Bearer ${made}` } })).status;
      expect(await ask()).toBe(200);
      await panel.getByText('An account has 2 keys at most').waitFor();
      await page.reload();
      await panel.getByRole('cell', { name: `${made.slice(0, 11)}…` }).waitFor();
      expect(await page.content()).not.toContain(made);
      await panel.getByRole('button', { name: `Revoke ${made.slice(0, 11)}` }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Revoke it' }).click();
      await expect.poll(ask).toBe(401);
      await panel.getByRole('cell', { name: `${made.slice(0, 11)}…` }).waitFor({ state: 'detached' });
      expect(faults).toEqual([]);
    });

    test('an account sees limits, credits and webhooks, and tries a receiver', { timeout }, async () => {
      const { page, faults, key } = await signIn(
        'hooked',
        'account:read',
        'jobs:read',
        'jobs:write',
        'webhooks:secrets',
      );
      await page.getByText('2 API keys').waitFor();
      await page.getByRole('heading', { name: 'Transactions, newest first' }).waitFor();

      const webhooks = page.getByRole('region', { name: 'Webhooks' });
      await webhooks.getByRole('textbox', { name: 'Receiver' }).fill(receiverUrl('/try'));
      await webhooks.getByRole('button', { name: 'Send a test' }).click();
      await webhooks.getByText('Delivered: the receiver answered 204').waitFor();
      await webhooks.getByRole('button', { name: 'Show the secret' }).click();
      const secret = (await webhooks.locator('code.secret').first().textContent()) ?? '';
      const [call] = received;
      const {
        'webhook-id': messageId = '',
        'webhook-timestamp': timestamp,
        'webhook-signature': signature,
      } = call!.headers;
      const message = { id: String(messageId), timestampSeconds: Number(timestamp), body: call!.body };
      expect(signature).toBe(signedHeaders([secret], message)['webhook-signature']);
      expect(JSON.parse(call!.body)).toMatchObject({ metadata: { test: 'true' } });
      await webhooks.getByRole('button', { name: 'Replace the secret' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Replace it' }).click();
      await webhooks.getByText('signs until').waitFor();

      await promisify(execFile)(process.execPath, [KEYS.replace('keys.ts', 'credits.ts'), 'grant', 'hooked', '10'], {
        env: { ...process.env, NATS_URL: stack.urls.nats, SLUICE_ENV: 'dev' },
      });
      const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({
          to: 'ada@example.com',
          template: 'welcome',
          variables: { name: 'Ada' },
          callbackUrl: receiverUrl('/gone'),
        }),
      });
      const { id } = (await answer.json()) as { id: string };
      const delivery = webhooks.getByRole('row', { name: new RegExp(id) });
      await delivery.getByText('failed', { exact: true }).waitFor();
      await delivery.getByText('the receiver answered 410').waitFor();
      await page.getByText('grant').waitFor();
      await expectAccessible(page);
      await page.setViewportSize({ width: 390, height: 844 });
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
      expect(faults).toEqual([]);
    });

    test('a template is written, checked, seen as a mail, published and deleted', { timeout }, async () => {
      const { page, faults } = await signIn('writer', 'jobs:read', 'jobs:write', 'templates:write');
      await page.goto(`${stack.urls.gateway}/#/mail`);
      await page.getByText('None yet.').waitFor();
      await page.getByRole('link', { name: 'New template' }).click();
      await page.getByLabel('Name', { exact: true }).fill('receipt');
      const mail = page.frameLocator('iframe[title="The mail"]');
      await mail.getByText('Your order 17 is on its way.').waitFor();
      await expectAccessible(page);

      // What is wrong is said before it is published, and nothing of it is drawn.
      const source = page.getByLabel('MJML', { exact: true });
      const good = await source.inputValue();
      await source.fill('<mjml><mj-body><mj-raw><script>parent.hacked = 1</script></mj-raw></mj-body></mjml>');
      await page
        .getByRole('region', { name: /^Preview/ })
        .getByRole('alert')
        .waitFor();
      expect(await page.getByRole('button', { name: 'Publish' }).isDisabled()).toBe(true);
      await source.fill(good.replace('Thank you', 'Many thanks'));
      await mail.getByText('Many thanks, Ada').waitFor();
      await page.getByRole('button', { name: 'Publish' }).click();
      await page.getByRole('combobox', { name: 'Version' }).waitFor();
      expect(await page.getByLabel('MJML', { exact: true }).inputValue()).toContain('Many thanks');

      await page.getByLabel('Subject').fill('Order {{order}}');
      await page.getByRole('button', { name: 'Publish' }).click();
      await page.getByText('Published as version 2.').waitFor();
      await page.getByRole('combobox', { name: 'Version' }).selectOption('1');
      await expect.poll(() => page.getByLabel('Subject').inputValue()).toBe('Your order {{order}}');

      await page.getByRole('link', { name: 'All templates' }).click();
      await page.getByRole('row', { name: /^receipt 2 / }).waitFor();
      await page.getByRole('button', { name: 'Delete receipt' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Delete it' }).click();
      await page.getByText('None yet.').waitFor();
      expect(await page.evaluate(() => 'hacked' in globalThis)).toBe(false);
      expect(faults).toEqual([]);
    });

    test('an address is kept out and let back in', { timeout }, async () => {
      const { page, faults } = await signIn('postmaster', 'admin');
      await page.goto(`${stack.urls.gateway}/#/mail/suppressions`);
      await page.getByLabel('Address').fill('no-more@example.com');
      await page.getByRole('button', { name: 'Send it no more mail' }).click();
      await page.getByText('no-more@example.com gets no more mail.').waitFor();
      await page.getByRole('cell', { name: 'manual' }).waitFor();
      await expectAccessible(page);
      await page.getByRole('button', { name: /^Let back in ./ }).click();
      await page.getByRole('cell', { name: 'manual' }).waitFor({ state: 'detached' });
      expect(faults).toEqual([]);
    });

    test('more addresses than a page holds are shown on request', { timeout }, async () => {
      const { page, faults, key } = await signIn('archivist', 'admin');
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
      for (let n = 0; n < 101; n++) {
        const body = JSON.stringify({ address: `left-${n}@example.com` });
        await fetch(`${stack.urls.gateway}/v1/suppressions`, { method: 'POST', headers, body });
      }
      await page.goto(`${stack.urls.gateway}/#/mail/suppressions`);
      const rows = page.getByRole('cell', { name: 'manual' });
      await expect.poll(() => rows.count()).toBe(100);
      await page.getByRole('button', { name: 'Show more' }).click();
      await expect.poll(() => rows.count()).toBe(101);
      await page.getByRole('button', { name: 'Show more' }).waitFor({ state: 'detached' });
      expect(faults).toEqual([]);
    });
  },
);
