import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats, createBus } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, NO_CHROMIUM, openPage } from './browser.ts';
import { jobWithEvents } from './job-with-events.ts';

const JOBS = 100_000;
const EVENTS = 5_000;
/** Rows that may be in the page at once: a screen full and what lies just beyond. */
const MOST_ROWS = 80;

describe.skipIf(CHROMIUM === undefined)(CHROMIUM === undefined ? `scale, skipped: ${NO_CHROMIUM}` : 'scale', () => {
  let directory: string;
  let stack: Stack;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-console-'));
    stack = await startStack({ dataDirectory: directory, services: ['gateway'] });
  });
  afterAll(async () => {
    await closeBrowser();
    await stack?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('of 100,000 jobs the page holds a screen full, however far one scrolls', async () => {
    const { page, faults } = await openPage();
    // The list alone is measured here: the answers are those of a gateway that has so many jobs.
    const jobAt = (index: number) => ({
      id: `job_${String(index).padStart(26, '0')}`,
      kind: index % 2 === 0 ? 'image' : 'email',
      state: 'succeeded',
      attempt: 1,
      priority: 'normal',
      createdAt: new Date(1_790_000_000_000 - index * 1_000).toISOString(),
      updatedAt: new Date(1_790_000_000_900 - index * 1_000).toISOString(),
      traceId: '0'.repeat(32),
      links: { self: '/', events: '/', stream: '/' },
    });
    await page.route('**/v1/jobs?*', (route) => {
      const query = new URL(route.request().url()).searchParams;
      const from = Number(query.get('cursor') ?? 0);
      const limit = Math.min(Number(query.get('limit')), JOBS - from);
      const jobs = Array.from({ length: limit }, (_, n) => jobAt(from + n));
      return route.fulfill({ json: { jobs, ...(from + limit < JOBS ? { next: String(from + limit) } : {}) } });
    });
    await page.goto(`${stack.urls.gateway}/#/jobs`);
    const list = page.getByRole('list', { name: 'Jobs' });
    for (let round = 0; round < 20; round += 1) {
      await list.evaluate((box) => box.scrollTo(0, box.scrollHeight));
      await page.waitForResponse((answer) => answer.url().includes('cursor='));
    }
    expect(await list.getByRole('listitem').count()).toBeLessThan(MOST_ROWS);
    expect(Number(await list.getByRole('listitem').last().getAttribute('aria-setsize'))).toBeGreaterThan(2_000);
    expect(faults).toEqual([]);
  });

  test('a job with 5,000 events draws its beginning and its end, and all events in a list', async () => {
    const bus = await createBus(await connectNats({ url: stack.urls.nats, name: 'scale' }));
    const id = await jobWithEvents(stack.urls.gateway, bus, EVENTS);
    await bus.close();
    const { page, faults } = await openPage();
    await page.goto(`${stack.urls.gateway}/#/jobs/${id}`);
    await expect
      .poll(
        async () =>
          Number(
            await page.getByRole('list', { name: 'Events' }).getByRole('listitem').first().getAttribute('aria-setsize'),
          ),
        { timeout: 60_000 },
      )
      .toBeGreaterThanOrEqual(EVENTS);
    expect(await page.getByRole('list', { name: 'Events' }).getByRole('listitem').count()).toBeLessThan(MOST_ROWS);
    const stages = page.getByRole('list', { name: 'Stages' }).getByRole('listitem');
    expect(await stages.count()).toBeLessThan(MOST_ROWS);
    expect(Number(await stages.first().getAttribute('aria-setsize'))).toBeGreaterThan(EVENTS / 2);
    expect(faults).toEqual([]);
  });
});
