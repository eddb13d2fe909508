import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, closePages, expectAccessible, NO_CHROMIUM, openPage } from './browser.ts';

/** A change without a body. */
const bare = { method: 'POST', headers: { 'content-type': 'application/json' } };
const SAMPLES = join(import.meta.dirname, '../../../samples');

describe.skipIf(CHROMIUM === undefined)(CHROMIUM === undefined ? `screens, skipped: ${NO_CHROMIUM}` : 'screens', () => {
  let directory: string;
  let stack: Stack;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
    stack = await startStack({
      dataDirectory: directory,
      imageReplicas: 2,
      // What is killed stays away for the length of a test.
      restartAfterMs: 20_000,
      // What fails on every attempt is given up within a second.
      env: { image: { RETRY_ATTEMPTS: '2', RETRY_BASE_MS: '100' } },
    });
  });
  afterEach(async () => {
    stack.s3.clearFaults();
    await closePages();
  });
  afterAll(async () => {
    await closeBrowser();
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('pictures are converted to one PDF, which is shown', async () => {
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

  test('a picture that is broken says why, is found by its error and sent again', async () => {
    const broken = join(directory, 'broken.jpg');
    await writeFile(broken, (await readFile(join(SAMPLES, 'photo.jpg'))).subarray(0, 3_000));
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try`);
    await page.getByLabel('Pictures', { exact: true }).setInputFiles([broken]);
    await page.getByRole('button', { name: 'Convert' }).click();
    await page.getByText('The picture is damaged or not complete').waitFor();

    await page.goto(`${stack.urls.gateway}/#/jobs`);
    const count = page.getByRole('region', { name: 'Errors' }).getByRole('link', { name: /^corrupt_image/ });
    await count.click();
    expect(await count.textContent()).toBe('corrupt_image 1');
    const rows = page.getByRole('list', { name: 'Jobs' }).getByRole('listitem');
    await expect.poll(() => rows.count()).toBe(1);
    await expectAccessible(page);
    await page.getByRole('checkbox', { name: /^Choose job_/ }).check();
    await page.getByRole('button', { name: 'Rerun 1' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Rerun them' }).click();
    await page.getByText('1 of 1 sent again').waitFor();
    // The same bytes fail the same way: two are listed, and counted.
    await expect.poll(() => rows.count()).toBe(2);
    await page.getByText('corrupt_image 2').waitFor();
    await page.getByRole('button', { name: /error corrupt_image/ }).click();
    await page.getByText('error corrupt_image').waitFor({ state: 'detached' });
    expect(faults).toEqual([]);
  });

  test('a job is found by what a reader knows of it', async () => {
    const send = async (json: object): Promise<string> => {
      const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', prefer: 'wait=30' },
        body: JSON.stringify({ template: 'welcome', variables: { name: 'Hedy' }, ...json }),
      });
      return ((await answer.json()) as { id: string }).id;
    };
    const id = await send({ to: 'hedy@example.com', metadata: { order: '4711' } });
    await send({ to: 'lamarr@example.com', metadata: { order: '4712' } });
    const { page, faults } = await openPage();
    for (const typed of ['hedy@example.com', 'order=4711']) {
      await page.goto(`${stack.urls.gateway}/#/jobs`);
      await page.getByRole('searchbox', { name: 'Find' }).fill(typed);
      await page.getByRole('button', { name: 'Find', exact: true }).click();
      const rows = page.getByRole('list', { name: 'Jobs' }).getByRole('listitem');
      await expect.poll(() => rows.count()).toBe(1);
      await rows.getByRole('link', { name: id }).waitFor();
    }
    await page.getByRole('searchbox', { name: 'Find' }).fill(id);
    await page.getByRole('searchbox', { name: 'Find' }).press('Enter');
    await page.getByRole('heading', { name: id }).waitFor();
    expect(faults).toEqual([]);
  });

  test('a job is found by the name of the picture that was dropped', async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try`);
    const picture = {
      name: 'Rechnung Mai.png',
      mimeType: 'image/png',
      buffer: await readFile(join(SAMPLES, 'scan.png')),
    };
    await page.getByLabel('Pictures', { exact: true }).setInputFiles([picture]);
    await page.getByRole('button', { name: 'Convert' }).click();
    await page.getByText('succeeded', { exact: true }).waitFor();
    const id = (await page.getByRole('link', { name: /^job_/ }).first().textContent()) ?? '';
    await page.goto(`${stack.urls.gateway}/#/jobs`);
    await page.getByRole('searchbox', { name: 'Find' }).fill('rechnung mai.png');
    await page.getByRole('searchbox', { name: 'Find' }).press('Enter');
    const rows = page.getByRole('list', { name: 'Jobs' }).getByRole('listitem');
    await expect.poll(() => rows.count()).toBe(1);
    await rows.getByRole('link', { name: id }).waitFor();
    expect(faults).toEqual([]);
  });

  test('a mail of a template is sent', async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try/mail`);
    await page.getByLabel('To', { exact: true }).fill('grace@example.com');
    // It is shown before it is sent, as it will be.
    const shown = page.frameLocator('[title="The mail"]');
    await shown.getByText('Ada').first().waitFor();
    await page.getByLabel('Variables, as JSON').fill('{ "name": "Grace <b>Hopper</b>" }');
    await shown.getByText('Grace <b>Hopper</b>').first().waitFor();
    await page.getByLabel('Variables, as JSON').fill('{ "name": 7 }');
    await page.getByText('/variables/name', { exact: true }).waitFor();
    await page.getByLabel('Variables, as JSON').fill('{ "name": "Grace" }');
    await page.getByText('/variables/name', { exact: true }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('succeeded', { exact: true }).waitFor();
    expect(stack.mail.mailbox.all().length).toBeGreaterThan(0);
    await expectAccessible(page);
    expect(faults).toEqual([]);
  });

  test('a replica that is killed shows, and when it is back', async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/overview`);
    const replica = page.getByRole('row', { name: /^image-2 / });
    await replica.getByText('up', { exact: true }).waitFor();
    await expectAccessible(page);
    stack.services.find(({ name }) => name === 'image-2')?.kill('SIGKILL');
    await replica.getByText('silent').waitFor();
    await page.getByText('Nothing was heard of this replica').waitFor();
    await replica.getByText('up', { exact: true }).waitFor();
    expect(faults).toEqual([]);
  });

  test('a gateway that is killed shows, and is followed again when it is back', async () => {
    // Nothing works on it, so that its stream stays open: what was read before the break is not read twice.
    await fetch(`${stack.urls.gateway}/v1/pipelines/welcome_mailer:pause`, bare);
    const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ to: 'joan@example.com', template: 'welcome', variables: { name: 'Joan' } }),
    });
    const { id } = (await answer.json()) as { id: string };
    const { page, faults } = await openPage();
    const { page: jobPage } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/overview`);
    await page.getByText('live', { exact: true }).waitFor();
    await jobPage.goto(`${stack.urls.gateway}/#/jobs/${id}`);
    const events = jobPage.getByRole('list', { name: 'Events' });
    await events.getByText('accepted', { exact: true }).waitFor();
    await jobPage.getByText('An operator has paused its pipeline (welcome_mailer').waitFor();
    stack.services.find(({ name }) => name === 'gateway')?.kill('SIGKILL');
    await page.getByText('no connection, as of a moment ago').waitFor();
    await page.getByText('live', { exact: true }).waitFor();
    await fetch(`${stack.urls.gateway}/v1/pipelines/welcome_mailer:resume`, bare);
    await jobPage.getByText('succeeded', { exact: true }).first().waitFor();
    await events.getByText('effect_done', { exact: true }).first().waitFor();
    expect(await events.getByText('accepted', { exact: true }).count()).toBe(1);
    expect(faults).toEqual([]);
  });

  test('work that was given up is grouped, redriven and removed', async () => {
    const nc = await connectNats({ url: stack.urls.nats, name: 'screens' });
    for (let n = 0; n < 3; n += 1) nc.publish('image.convert.binary', new Uint8Array([255, 255, n]));
    await nc.drain();
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/dead-letters`);
    const group = page.getByRole('region', { name: /^binary_to_pdf: decode/ });
    await group.getByRole('heading', { name: '3 × binary_to_pdf could not be read' }).waitFor();
    await expectAccessible(page);
    await group
      .getByRole('checkbox', { name: /^Choose dead letter/ })
      .first()
      .check();
    await page.getByRole('button', { name: 'Redrive the chosen' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Redrive' }).click();
    await page.getByText('1 sent on their way again, and written down in the audit log.').waitFor();
    // It could not be read before, so it is back; then all of them go.
    await group.getByRole('heading', { name: '3 × binary_to_pdf could not be read' }).waitFor();
    await group.getByRole('button', { name: 'Remove all of these' }).click();
    await page.getByRole('dialog').getByRole('heading', { name: 'Remove for good: 3' }).waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await page.getByText('3 removed, and written down in the audit log.').waitFor();
    await page.getByRole('heading', { name: 'None' }).waitFor();
    expect(faults).toEqual([]);
  });

  test('a job whose PDF the store refused is seen as a dead letter, redriven and succeeds', async () => {
    const refusal = stack.s3.fail({
      method: 'PUT',
      keyPrefix: 'pdf/',
      times: Infinity,
      effect: { kind: 'status', status: 403, code: 'AccessDenied' },
    });
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/try`);
    await page.getByLabel('Pictures', { exact: true }).setInputFiles([join(SAMPLES, 'photo.jpg')]);
    await page.getByRole('button', { name: 'Convert' }).click();
    const sent = page.getByRole('region', { name: 'The job that was sent' });
    await sent.getByText('failed', { exact: true }).waitFor();
    await sent.getByText('Every attempt failed').waitFor();
    const job = (await sent.getByRole('link', { name: /^job_/ }).textContent()) ?? '';

    // The dead letter names the job and says why.
    await page.getByRole('navigation', { name: 'Screens' }).getByRole('link', { name: 'Dead letters' }).click();
    const group = page.getByRole('region', { name: /: exhausted/ });
    await group.getByRole('heading', { name: /^1 × .*_to_pdf failed on every attempt$/ }).waitFor();
    await group.getByRole('button', { expanded: false }).click();
    await group.getByRole('link', { name: job }).waitFor();
    await expectAccessible(page);

    // While its cause is there it comes back.
    await group.getByRole('button', { name: 'Redrive', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Redrive' }).click();
    await page.getByText('1 sent on their way again, and written down in the audit log.').waitFor();
    const openIt = async (): Promise<number> => {
      const closed = group.getByRole('button', { expanded: false });
      if ((await closed.count()) === 1) await closed.click();
      return group.getByText('redriven once before').count();
    };
    await expect.poll(openIt).toBe(1);

    refusal.lift();
    await group.getByRole('button', { name: 'Redrive all of these' }).click();
    await page.getByRole('dialog').getByRole('heading', { name: 'Send on their way again: 1' }).waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Redrive' }).click();
    await group.waitFor({ state: 'detached' });
    await page.goto(`${stack.urls.gateway}/#/jobs/${job}`);
    await page.getByText('succeeded', { exact: true }).first().waitFor();
    await page.getByRole('link', { name: 'PDF', exact: true }).waitFor();
    const pdf = await page.request.get(`${stack.urls.gateway}/v1/jobs/${job}/pdf?inline=true`);
    expect((await pdf.body()).subarray(0, 5).toString()).toBe('%PDF-');
    expect(faults).toEqual([]);
  });

  test('a mail is sent again, changed first', async () => {
    const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=30' },
      body: JSON.stringify({ to: 'barbara@example.com', template: 'welcome', variables: { name: 'Barbara' } }),
    });
    const { id } = (await answer.json()) as { id: string };
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/jobs/${id}`);
    await page.getByRole('region', { name: 'Request' }).getByText('barbara@example.com').waitFor();
    await page.getByRole('link', { name: 'Edit and rerun' }).click();
    await page.getByLabel('Variables, as JSON').fill('{ "name": "Barbara Liskov" }');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('succeeded', { exact: true }).waitFor();
    const mails = stack.mail.mailbox.all().filter(({ to }) => JSON.stringify(to).includes('barbara'));
    expect(mails).toHaveLength(2);
    expect(faults).toEqual([]);
  });

  test('the events that a message lacks are marked', async () => {
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/messages/orders`);
    await page.getByLabel('Events, in order, one a line').fill('received\npaid\nshipped');
    await page.getByLabel('Complete within, seconds').fill('1');
    await page.getByRole('button', { name: 'Declare' }).click();
    await page.getByText('received → paid → shipped').waitFor();
    const events = ['received', 'paid'].map((event) => ({
      app_id: 'orders',
      message_id: 'order-1',
      event,
      created_at: new Date().toISOString(),
    }));
    await fetch(`${stack.urls.gateway}/v1/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ events }),
    });
    await page.getByRole('link', { name: 'order-1' }).click();
    await page.getByText('paid ✓').waitFor();
    await page.getByText('shipped missing').waitFor();
    await expectAccessible(page);

    // What is declared stands in the form, to be changed.
    await page.getByRole('navigation', { name: 'Screens' }).getByRole('link', { name: 'Messages' }).click();
    await page.getByRole('cell', { name: 'received → paid → shipped' }).waitFor();
    await expectAccessible(page);
    await page.getByRole('link', { name: 'orders', exact: true }).click();
    const declared = page.getByLabel('Events, in order, one a line');
    await expect.poll(() => declared.inputValue()).toBe('received\npaid\nshipped');
    await declared.fill('received\npaid');
    await page.getByRole('button', { name: 'Declare' }).click();
    await page.getByText('Declared: received → paid').waitFor();
    await page.getByText('Either every message is complete').waitFor();
    expect(faults).toEqual([]);
  });

  test('a run of 500 jobs is sent, followed to its end and told of', async () => {
    const { page, faults } = await openPage();
    page.setDefaultTimeout(200_000);
    await page.goto(`${stack.urls.gateway}/#/load`);
    await page.getByLabel('Jobs', { exact: true }).fill('500');
    await page.getByLabel('A second, at full rate').fill('100');
    await page.getByLabel('Mails of a hundred').fill('80');
    await page.getByRole('button', { name: 'Start' }).click();
    await page.getByText('done', { exact: true }).waitFor();
    const report = page.getByRole('region', { name: 'Report' });
    await report.getByText('500 of 500').waitFor();
    await expectAccessible(page);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Keep the report' }).click(),
    ]);
    const kept = JSON.parse(await readFile(await download.path(), 'utf8')) as {
      accepted: number;
      ended: number;
      refused: Readonly<Record<string, number>>;
    };
    // A slow machine turns some of them away, as the report says: what it took, it ended.
    expect(kept.accepted + Object.values(kept.refused).reduce((sum, count) => sum + count, 0)).toBe(500);
    expect(kept.accepted).toBeGreaterThan(0);
    expect(kept).toMatchObject({ ended: kept.accepted, failed: 0 });
    expect(faults).toEqual([]);
  });

  test.each(['overview', 'try', 'jobs', 'messages', 'messages/orders', 'dead-letters', 'mail', 'load', 'account'])(
    'the screen %s on a phone has nothing serious for axe, and does not scroll sideways',
    async (screen) => {
      const { page, faults } = await openPage({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
      await page.goto(`${stack.urls.gateway}/#/${screen}`);
      await page.getByRole('heading', { level: 1 }).waitFor();
      await expectAccessible(page);
      // Nothing makes a phone scroll sideways.
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
      expect(faults).toEqual([]);
    },
  );
});
