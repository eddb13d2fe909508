import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { channels, LifecycleEventSchema } from '@sluice/contracts';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats, createBus } from '@sluice/messaging';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, NO_CHROMIUM, openPage } from './browser.ts';

const JOBS = 100_000;
const EVENTS = 5_000;
/** Rows that may be in the page at once: a screen full and what lies just beyond. */
const MOST_ROWS = 80;

/** Watches the page's event loop from here on; the longest task is asked for at the end. */
const watchTasks = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const seen: number[] = [];
    (globalThis as { longTasks?: number[] }).longTasks = seen;
    new PerformanceObserver((list) => seen.push(...list.getEntries().map(({ duration }) => duration))).observe({
      type: 'longtask',
    });
  });
const longestTaskMs = (page: Page): Promise<number> =>
  page.evaluate(() => Math.max(0, ...((globalThis as { longTasks?: number[] }).longTasks ?? [])));

/** Goes to a place and says how long the page took to draw what is wanted, once it had the data. */
const drawMs = (page: Page, hash: string, selector: string): Promise<number> =>
  page.evaluate(
    ([to, wanted]) =>
      new Promise<number>((resolve) => {
        const fetched = globalThis.fetch;
        let dataMs = performance.now();
        globalThis.fetch = async (...args) => {
          const answer = await fetched(...args);
          dataMs = performance.now();
          return answer;
        };
        location.hash = to ?? '';
        const look = (): void => {
          if (document.querySelector(wanted ?? '') === null) requestAnimationFrame(look);
          else {
            globalThis.fetch = fetched;
            resolve(performance.now() - dataMs);
          }
        };
        look();
      }),
    [hash, selector],
  );

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

  test('of 100,000 jobs the page holds a screen full, however far one scrolls', { timeout: 120_000 }, async () => {
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
    await page.goto(`${stack.urls.gateway}/#/try`);
    await page.getByRole('heading', { name: 'Try it' }).waitFor();
    await watchTasks(page);
    const ms = await drawMs(page, '#/jobs', '[role=listitem]');
    const list = page.getByRole('list', { name: 'Jobs' });
    for (let round = 0; round < 20; round += 1) {
      await list.evaluate((box) => box.scrollTo(0, box.scrollHeight));
      await page.waitForResponse((answer) => answer.url().includes('cursor='));
    }
    expect(await list.getByRole('listitem').count()).toBeLessThan(MOST_ROWS);
    expect(Number(await list.getByRole('listitem').last().getAttribute('aria-setsize'))).toBeGreaterThan(2_000);
    expect(faults).toEqual([]);
    console.log(
      `jobs: drawn ${Math.round(ms)} ms after the data came, longest task ${Math.round(await longestTaskMs(page))} ms`,
    );
  });

  test(
    'a job with 5,000 events draws its beginning and its end, and all events in a list',
    { timeout: 120_000 },
    async () => {
      const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } }),
      });
      const { id } = (await answer.json()) as { id: string };
      const bus = await createBus(await connectNats({ url: stack.urls.nats, name: 'scale' }));
      const startedMs = Date.now();
      const names = ['attempt', 'retry_scheduled'];
      for (let from = 0; from < EVENTS; from += 500) {
        await Promise.all(
          Array.from({ length: 500 }, (_, n) => {
            const index = from + n;
            const event = create(LifecycleEventSchema, {
              appId: 'email',
              messageId: id,
              instance: 'email-1',
              event: names[index % 2] ?? '',
              attempt: 1 + (index >> 1),
              pipeline: 'welcome_mailer',
              createdAt: timestampFromMs(startedMs + index * 10),
            });
            return bus.publish(channels.event, event, {
              id: `${id}-${index}`,
              values: { appId: 'email', messageId: id },
            });
          }),
        );
      }
      await bus.close();
      const { page, faults } = await openPage();
      await page.goto(`${stack.urls.gateway}/#/try`);
      await page.getByRole('heading', { name: 'Try it' }).waitFor();
      await watchTasks(page);
      const ms = await drawMs(page, `#/jobs/${id}`, '.facts');
      await expect
        .poll(
          async () =>
            Number(
              await page
                .getByRole('list', { name: 'Events' })
                .getByRole('listitem')
                .first()
                .getAttribute('aria-setsize'),
            ),
          { timeout: 60_000 },
        )
        .toBeGreaterThanOrEqual(EVENTS);
      expect(await page.getByRole('list', { name: 'Events' }).getByRole('listitem').count()).toBeLessThan(MOST_ROWS);
      const stages = page.getByRole('list', { name: 'Stages' }).getByRole('listitem');
      expect(await stages.count()).toBeLessThan(MOST_ROWS);
      expect(Number(await stages.first().getAttribute('aria-setsize'))).toBeGreaterThan(EVENTS / 2);
      expect(faults).toEqual([]);
      console.log(
        `5,000 events: drawn ${Math.round(ms)} ms after the data came, longest task ${Math.round(await longestTaskMs(page))} ms`,
      );
    },
  );
});
