// From the header of a mail to the list of suppressions: as a mail program does it, and as a person in a browser.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { createServer, request as httpsRequest, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, closeBrowser, expectAccessible, NO_CHROMIUM, openPage } from './browser.ts';

interface Job {
  id: string;
  state: string;
  error?: { code: string };
}
let directory: string;
let stack: Stack;
let proxy: Server;
let ca: Buffer;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-unsubscribe-'));
  proxy = await startTlsProxy();
  const UNSUBSCRIBE_SECRET = 'a secret of some length';
  const { port } = proxy.address() as AddressInfo;
  stack = await startStack({
    dataDirectory: join(directory, 'data'),
    services: ['gateway', 'email'],
    env: {
      gateway: { UNSUBSCRIBE_SECRET },
      email: { UNSUBSCRIBE_SECRET, UNSUBSCRIBE_URL: `https://localhost:${port}/v1/unsubscribe?token={token}` },
    },
  });
});

/** Links in mails are https: in front of the gateway stands what ends TLS, as in any deployment. */
async function startTlsProxy(): Promise<Server> {
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const made = ['req', '-x509', '-nodes', '-newkey', 'rsa:2048', '-keyout', key, '-out', cert, '-days', '2', ...names];
  await promisify(execFile)('openssl', made);
  ca = await readFile(cert);
  const server = createServer({ key: await readFile(key), cert: ca }, (asked, answer) => {
    const { method, url, headers } = asked;
    const onward = httpRequest(new URL(url ?? '/', stack.urls.gateway), { method, headers }, (received) => {
      answer.writeHead(received.statusCode ?? 502, received.headers);
      received.pipe(answer);
    });
    asked.pipe(onward);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

/** What a mail program does with the header: one POST, no cookie, and no redirect that it would follow. */
const oneClick = (url: string, body: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const posted = httpsRequest(url, { method: 'POST', headers, ca }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    posted.on('error', reject).end(body);
  });

afterAll(async () => {
  await closeBrowser();
  await stack?.stop();
  proxy?.closeAllConnections();
  proxy?.close();
  await rm(directory, { recursive: true, force: true });
});

/** Sends a mail and waits for the end of its job: `sent`, or the code of its failure. */
async function send(to: string, mail: object): Promise<string> {
  const answer = await fetch(`${stack.urls.gateway}/v1/emails`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=30' },
    body: JSON.stringify({ to, ...mail }),
  });
  const job = (await answer.json()) as Job;
  return job.state === 'succeeded' ? 'sent' : (job.error?.code ?? job.state);
}
const notify = (to: string): Promise<string> =>
  send(to, { template: 'notification', variables: { message: 'Version 2 is out.' } });
const welcome = (to: string): Promise<string> => send(to, { template: 'welcome', variables: { name: 'Ada' } });

/** The headers of the only mail to a reader, unfolded, and its body. */
async function mailTo(to: string): Promise<{ readonly header: (name: string) => string; readonly raw: string }> {
  const mails = stack.mail.mailbox.all().filter(({ envelopeTo }) => envelopeTo.includes(to));
  expect(mails).toHaveLength(1);
  const raw = (await stack.mail.mailbox.raw(mails[0]!)).toString('latin1').replace(/\r\n[ \t]+/g, ' ');
  return {
    raw,
    header: (name) => new RegExp(`^${name}: (.*)\r$`, 'm').exec(raw)?.[1] ?? '',
  };
}
const linkIn = (header: string): string => /<(http[^>]*)>/.exec(header)?.[1]?.replaceAll(' ', '') ?? '';
const reasonsOf = async (address: string): Promise<readonly string[]> => {
  const answer = await fetch(`${stack.urls.gateway}/v1/suppressions/${address}`);
  const { suppressions = [] } = (await answer.json()) as { suppressions?: { reason: string }[] };
  return suppressions.map(({ reason }) => reason);
};

describe('the List-Unsubscribe header of a recurring mail', () => {
  test('unsubscribes by the one POST of a mail program (RFC 8058)', async () => {
    const reader = 'program@example.com';
    expect(await notify(reader)).toBe('sent');
    const { header } = await mailTo(reader);
    expect(header('List-Unsubscribe-Post')).toBe('List-Unsubscribe=One-Click');
    expect(await oneClick(linkIn(header('List-Unsubscribe')), header('List-Unsubscribe-Post'))).toBe(200);
    expect(await reasonsOf(reader)).toEqual(['unsubscribe']);
    expect(await notify(reader)).toBe('recipient_suppressed');
    // What answers something that the reader did still comes.
    expect(await welcome(reader)).toBe('sent');
  });

  test.skipIf(CHROMIUM === undefined)(
    CHROMIUM === undefined
      ? `unsubscribes a person in a browser, skipped: ${NO_CHROMIUM}`
      : 'unsubscribes a person in a browser, who asks for it on the page',
    async () => {
      const reader = 'person@example.com';
      expect(await notify(reader)).toBe('sent');
      const { page, faults } = await openPage({ ignoreHTTPSErrors: true });
      await page.goto(linkIn((await mailTo(reader)).header('List-Unsubscribe')));
      await expectAccessible(page);
      // Scanners of links come as far as this.
      expect(await reasonsOf(reader)).toEqual([]);
      await page.getByRole('button', { name: 'Unsubscribe' }).click();
      await page.getByRole('heading', { name: 'You are unsubscribed' }).waitFor();
      await expectAccessible(page);
      expect(await reasonsOf(reader)).toEqual(['unsubscribe']);
      expect(await notify(reader)).toBe('recipient_suppressed');
      expect(faults).toEqual([]);
    },
  );

  test('is not in mails that answer something', async () => {
    const reader = 'single@example.com';
    expect(await welcome(reader)).toBe('sent');
    expect((await mailTo(reader)).header('List-Unsubscribe')).toBe('');
  });
});
