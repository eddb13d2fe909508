import { join } from 'node:path';
import type { Page } from '../browser.ts';
import { SAMPLES, type Pictured } from './stack.ts';

/** A screen that is pictured. */
export interface Shot {
  /** Of its files: `job-light.png`, `job-phone-dark.png`. */
  readonly name: string;
  /** What docs/console.md calls it. */
  readonly title: string;
  /** Behind the address of the gateway. */
  readonly path: string;
  /** Brings the screen to where it is pictured. */
  readonly ready: (page: Page) => Promise<unknown>;
  /** Before the reader has signed in. */
  readonly signedOut?: true;
}

const heading = (name: string) => (page: Page) => page.getByRole('heading', { name }).first().waitFor();
/** Brings a part of the screen to its top, below the navigation that stays there on a phone. */
const bringUp = (page: Page, name: string): Promise<void> =>
  page
    .getByRole('heading', { name, exact: true })
    .evaluate((element) => scrollBy(0, element.getBoundingClientRect().top - (innerWidth < 960 ? 110 : 24)));

export function shotsOf({ stack, jobId }: Pictured): readonly Shot[] {
  return [
    {
      name: 'overview',
      title: 'Overview',
      path: '#/overview',
      ready: (page) => page.getByText('silent', { exact: true }).waitFor(),
    },
    { name: 'sign-in', title: 'Sign in', path: '#/', signedOut: true, ready: heading('Sign in to Sluice') },
    {
      name: 'try',
      title: 'Try images',
      path: '#/try',
      async ready(page) {
        const files = ['photo.jpg', 'scan.png', 'screenshot.png'].map((name) => join(SAMPLES, name));
        await page.getByLabel('Pictures', { exact: true }).setInputFiles(files);
        await page.getByRole('button', { name: 'Convert' }).click();
        await page.getByText('succeeded', { exact: true }).waitFor();
        // The viewer of the browser draws the PDF in its own time.
        await page.waitForTimeout(4_000);
        await page.evaluate(() => scrollTo(0, 0));
      },
    },
    {
      name: 'try-mail',
      title: 'Try a mail',
      path: '#/try/mail',
      async ready(page) {
        await page.frameLocator('[title="The mail"]').getByText('Ada').first().waitFor();
        await page.evaluate(() => scrollTo(0, 0));
      },
    },
    {
      name: 'jobs',
      title: 'Jobs',
      path: '#/jobs',
      ready: (page) => page.getByRole('list', { name: 'Jobs' }).getByText('succeeded').first().waitFor(),
    },
    {
      name: 'job',
      title: 'A job',
      path: `#/jobs/${jobId}`,
      ready: (page) => page.getByText('Conversion: attempt 1').waitFor(),
    },
    {
      name: 'messages',
      title: 'A message of any app',
      path: '#/messages/orders/order-18',
      ready: (page) => page.getByText('shipped missing').waitFor(),
    },
    {
      name: 'flows',
      title: 'What an app declares, and which messages lack it',
      path: '#/messages/orders',
      ready: (page) => page.getByRole('link', { name: 'order-19' }).waitFor(),
    },
    {
      name: 'dead-letters',
      title: 'Dead letters',
      path: '#/dead-letters',
      async ready(page) {
        await page.getByText('3 × binary_to_pdf could not be read').waitFor();
        await page.locator('.letter button[aria-expanded]').first().click();
      },
    },
    { name: 'templates', title: 'A mail template', path: '#/mail/templates/receipt', ready: heading('Preview') },
    {
      name: 'suppressions',
      title: 'Addresses that get no mail',
      path: '#/mail/suppressions',
      ready: (page) => page.getByText('manual').first().waitFor(),
    },
    {
      name: 'load',
      title: 'A run of load',
      path: '#/load',
      async ready(page) {
        await page.getByLabel('Jobs', { exact: true }).fill('120');
        await page.getByRole('button', { name: 'Start' }).click();
        await page.getByText('done', { exact: true }).waitFor({ timeout: 120_000 });
      },
    },
    { name: 'account', title: 'An account and its keys', path: '#/account', ready: heading('API keys') },
    {
      name: 'webhooks',
      title: 'Webhooks',
      path: '#/account',
      async ready(page) {
        await page.getByText('hooks.example.invalid').first().waitFor();
        await bringUp(page, 'Webhooks');
      },
    },
    { name: 'api', title: 'The API', path: 'docs', ready: heading('Sluice') },
    { name: 'subjects', title: 'The subjects on NATS', path: 'asyncapi', ready: heading('Subjects') },
    {
      name: 'mails',
      title: 'The mails of `pnpm dev`',
      path: stack.urls.mail,
      ready: (page) => page.locator('#list li').first().click(),
    },
  ];
}
