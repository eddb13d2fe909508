import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import assert from 'node:assert/strict';

export type { Page };

/** Where Debian and others put the browser; nothing is downloaded. */
export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** The reason that stands in the report where the tests of the screens are skipped. */
export const NO_CHROMIUM = 'no Chromium at /usr/bin/chromium: apt-get install chromium';

let browser: Browser | undefined;
/** Ends the browser of this process, if one was started. */
export const closeBrowser = async (): Promise<void> => browser?.close();
/** Ends every page that is open: each asks the gateway every second for as long as it is there. */
export const closePages = async (): Promise<void> => {
  await Promise.all((browser?.contexts() ?? []).map((context) => context.close()));
};

/** A page that fails its test when its scripts throw, or when the policy of the page refuses something. */
export async function openPage(options: BrowserContextOptions = {}): Promise<{ page: Page; faults: string[] }> {
  browser ??= await chromium.launch({
    executablePath: CHROMIUM ?? '',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy|Uncaught/.test(message.text()))
      faults.push(message.text());
  });
  return { page, faults };
}

/** What axe holds to be serious or critical on the page as it stands. */
export async function expectAccessible(page: Page): Promise<void> {
  // By the debugger, which the policy of the page does not bind.
  await page.evaluate(axe.source);
  const findings = await page.evaluate(async () => {
    const { violations } = await (
      globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> };
      }
    ).axe.run();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
  });
  assert.deepEqual(findings, []);
}
