// What others have written is shown as text: names of files, metadata, variables, errors, and addresses of the page.
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats, createBus } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, closePages, NO_CHROMIUM, openPage, type Page } from './browser.ts';

const SAMPLES = join(import.meta.dirname, '../../../samples');
/** It runs where it is taken for HTML, in an attribute as well as in text. */
const HOSTILE = `"'><img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>`;

describe.skipIf(CHROMIUM === undefined)(
  CHROMIUM === undefined ? `hostile data, skipped: ${NO_CHROMIUM}` : 'hostile data',
  () => {
    let directory: string;
    let stack: Stack;
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
      stack = await startStack({ dataDirectory: directory, services: ['gateway', 'email', 'image'] });
    });
    afterEach(closePages);
    afterAll(async () => {
      await closeBrowser();
      await stack?.stop();
      await rm(directory, { recursive: true, force: true });
    });

    const post = async (path: string, init: RequestInit): Promise<string> => {
      const answer = await fetch(`${stack.urls.gateway}${path}`, { method: 'POST', ...init });
      const body = (await answer.json()) as { id?: string };
      expect([answer.status, body]).toEqual([202, expect.objectContaining({ id: expect.any(String) as string })]);
      return body.id ?? '';
    };
    const mail = (variables: object, more: object = {}): Promise<string> =>
      post('/v1/emails', {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables, ...more }),
      });
    const expectUnhurt = async (page: Page, faults: readonly string[]): Promise<void> => {
      expect(await page.evaluate(() => 'hacked' in globalThis)).toBe(false);
      expect(await page.locator('img[src="x"]').count()).toBe(0);
      expect(faults).toEqual([]);
    };

    test('that a screen cannot draw takes that screen away and no other', async () => {
      const { page } = await openPage();
      await page.route(/\/v1\/jobs(\?|$)/, (route) => route.fulfill({ json: { jobs: [null] } }));
      await page.goto(`${stack.urls.gateway}/#/jobs`);
      await page.getByRole('alert').getByText('This screen could not be drawn.').waitFor();
      await page.getByRole('link', { name: 'Overview' }).click();
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
      expect(await page.getByText('This screen could not be drawn.').count()).toBe(0);
    });

    test('in metadata, variables and names of files is text', async () => {
      const id = await mail({ name: HOSTILE }, { metadata: { note: HOSTILE } });
      const form = new FormData();
      form.append('file', new Blob([await readFile(join(SAMPLES, 'scan.png'))]), HOSTILE);
      await post('/v1/images', { body: form });
      const { page, faults } = await openPage();
      await page.goto(`${stack.urls.gateway}/#/jobs/${id}`);
      await page.getByRole('region', { name: 'Facts' }).getByText(HOSTILE).waitFor();
      await page.getByRole('region', { name: 'Request' }).getByText('globalThis.hacked').waitFor();
      await page.goto(`${stack.urls.gateway}/#/jobs`);
      await page.getByRole('list', { name: 'Jobs' }).getByText(`note=${HOSTILE}`).waitFor();
      await page.getByRole('searchbox', { name: 'Find' }).fill(HOSTILE);
      await page.getByRole('button', { name: 'Find', exact: true }).click();
      await page.getByRole('button', { name: `No longer only file ${HOSTILE}` }).waitFor();
      await page.goto(`${stack.urls.gateway}/#/try/mail?from=${id}`);
      await expect.poll(() => page.getByLabel('Variables, as JSON').inputValue()).toContain('globalThis.hacked');
      await page.goto(`${stack.urls.gateway}/#/try`);
      const picture = { name: HOSTILE.replaceAll('/', ''), mimeType: 'image/png', buffer: Buffer.from('no picture') };
      await page.getByLabel('Pictures', { exact: true }).setInputFiles([picture]);
      await page.getByRole('list', { name: 'Chosen pictures' }).getByText('globalThis.hacked').waitFor();
      await page.getByRole('button', { name: 'Convert' }).click();
      await page.getByRole('alert').first().waitFor();
      await expectUnhurt(page, faults);
    });

    test('in a dead letter is text', async () => {
      const bus = await createBus(await connectNats({ url: stack.urls.nats, name: 'hostile' }));
      await bus.port.publish('dlq.IMAGES.binary_to_pdf', new TextEncoder().encode(HOSTILE), {
        id: randomUUID(),
        headers: {
          [DEAD_LETTER.stream]: 'IMAGES',
          [DEAD_LETTER.consumer]: 'binary_to_pdf',
          [DEAD_LETTER.pipeline]: HOSTILE,
          [DEAD_LETTER.reason]: HOSTILE,
          [DEAD_LETTER.detail]: HOSTILE,
          [DEAD_LETTER.subject]: 'image.convert.binary',
          [DEAD_LETTER.messageId]: HOSTILE,
          [DEAD_LETTER.sequence]: '1',
          [DEAD_LETTER.deliveries]: 'many',
          [DEAD_LETTER.errorName]: HOSTILE,
          [DEAD_LETTER.errorCode]: HOSTILE,
          [DEAD_LETTER.failedAt]: 'once upon a time',
        },
      });
      await bus.close();
      const { page, faults } = await openPage();
      await page.goto(`${stack.urls.gateway}/#/dead-letters`);
      await page.getByRole('heading', { name: /^1 × binary_to_pdf/ }).waitFor();
      await page.getByRole('button', { expanded: false }).first().click();
      await page.getByText('Last failure').waitFor();
      await page.getByRole('button', { name: 'Redrive all of these' }).click();
      await page.getByText(HOSTILE).first().waitFor();
      await expectUnhurt(page, faults);
    });

    test.each([
      '#/jobs/%zz',
      '#/jobs/..%2F..%2Fv1%2Fsystem',
      `#/jobs?state=${encodeURIComponent(HOSTILE)}&fileName=${encodeURIComponent(HOSTILE)}`,
      '#/constructor',
      '#/__proto__/x?__proto__=1',
      `#/messages/${encodeURIComponent(HOSTILE)}/${encodeURIComponent(HOSTILE)}`,
      `#/mail/templates/${encodeURIComponent(HOSTILE)}`,
      `#/dead-letters?consumer=${encodeURIComponent(HOSTILE)}`,
      `#/try?from=${encodeURIComponent(HOSTILE)}`,
      `#javascript:globalThis.hacked=1`,
    ])('in the address %s leaves a page that can be used', async (hash) => {
      const { page, faults } = await openPage();
      await page.goto(`${stack.urls.gateway}/${hash}`);
      await page.locator('main').getByText(/\S/).first().waitFor();
      await page.getByRole('navigation', { name: 'Screens' }).getByRole('link', { name: 'Load' }).click();
      await page.getByRole('heading', { name: 'Load' }).waitFor();
      await expectUnhurt(page, faults);
    });
  },
);
