// A mail whose server asks to come again later, over gateway and mailer: what its job says meanwhile, what its URL is told,
// and that it is sent in the end.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startScriptedSmtp, startStack, type ScriptedSmtp, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gatewayClient, until } from './gateway-client.ts';

/** What the job and its webhook say of a deferral. */
interface DeferredJob {
  readonly id: string;
  readonly state: string;
  readonly attempt: number;
  readonly deferred?: { readonly at: string; readonly detail: string };
  readonly waitingFor?: { readonly reason: string; readonly detail: string; readonly until?: string };
  readonly result?: { readonly ambiguous: boolean };
  readonly error?: { readonly code: string; readonly detail: string };
}

/** The first delay; half of it is jitter. The next is three times as long. */
const RETRY_BASE_MS = 6_000;
let directory: string;
let stack: Stack;
let smtp: ScriptedSmtp;
let receiver: Server;
const calls: { readonly id: string; readonly job: DeferredJob }[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-deferral-'));
  smtp = await startScriptedSmtp();
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      calls.push({ id: String(request.headers['webhook-id']), job: JSON.parse(body) as DeferredJob });
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  stack = await startStack({
    dataDirectory: directory,
    services: ['gateway', 'email'],
    smtpUrls: `${smtp.url}?name=a`,
    // The third time a mail is deferred, it is given up.
    env: { email: { RETRY_BASE_MS: String(RETRY_BASE_MS), RETRY_ATTEMPTS: '3' } },
  });
});
afterAll(async () => {
  await stack?.stop();
  receiver?.close();
  await smtp?.close();
  await rm(directory, { recursive: true, force: true });
});

const full = { kind: 'reply', code: 452, text: '4.2.2 <full@example.com> mailbox full, ticket 7' } as const;
const detail = 'a: 452 4.2.2 <[address]> mailbox full, ticket 7';
const accept = (api: ReturnType<typeof gatewayClient>, to: string) => {
  const callbackUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  const mail = { to, template: 'welcome', variables: { name: 'Ada' }, callbackUrl };
  return api.accept('/v1/emails', JSON.stringify(mail), { 'content-type': 'application/json' });
};
const callsAbout = (id: string) => calls.filter(({ job }) => job.id === id);

test('a mail that is deferred says so on its job and to its URL, and is sent once when it is taken', async () => {
  const api = gatewayClient(stack.urls.gateway);
  smtp.play({ domains: { 'full.example': full } });
  const { id } = await accept(api, 'ada@full.example');
  const job = async (): Promise<DeferredJob> => (await api.get(id)) as unknown as DeferredJob;
  const attempts = async (): Promise<number> =>
    (await api.events(id)).filter(({ event }) => event === 'smtp_attempt').length;
  /** Waits until the mail waits for the attempt after so many, and the job says so. */
  const waiting = async (count: number): Promise<DeferredJob> => {
    let found: DeferredJob | undefined;
    await until(`attempt ${count} is deferred`, async () => {
      if ((await attempts()) !== count) return false;
      found = await job();
      return found.waitingFor?.reason === 'retry' && found.deferred !== undefined;
    });
    return found!;
  };

  const first = await waiting(1);
  expect(first).toMatchObject({ state: 'queued', attempt: 1, deferred: { detail }, waitingFor: { detail } });
  const delayMs = Date.parse(first.waitingFor?.until ?? '') - Date.parse(first.deferred?.at ?? '');
  // `at` is of the mailer's clock before its retry is noted, `until` of the broker's after it.
  expect(delayMs).toBeGreaterThan(RETRY_BASE_MS / 2 - 1_000);
  await until('the URL is told', () => callsAbout(id).length > 0);
  expect(callsAbout(id)[0]?.job).toMatchObject({ id, state: 'queued', deferred: { detail } });

  const second = await waiting(2);
  expect(second).toMatchObject({ state: 'queued', waitingFor: { detail } });
  expect(second.deferred).toEqual(first.deferred);
  expect(Date.parse(second.waitingFor?.until ?? '')).toBeGreaterThan(Date.parse(first.waitingFor?.until ?? ''));
  expect(smtp.mails).toEqual([]);

  smtp.play();
  expect(await api.ended(id)).toMatchObject({ state: 'succeeded', attempt: 3, result: { ambiguous: false } });
  const ended = await job();
  expect(ended).not.toHaveProperty('deferred');
  expect(ended).not.toHaveProperty('waitingFor');
  expect(smtp.mails.map(({ to, stored }) => [to, stored])).toEqual([[['ada@full.example'], true]]);
  await until('the URL is told of the end', () => callsAbout(id).length > 1);
  const [deferral, end] = callsAbout(id);
  expect([deferral?.job.state, end?.job.state]).toEqual(['queued', 'succeeded']);
  expect(end?.id).not.toBe(deferral?.id);
  await until('the timeline is whole', async () => (await attempts()) === 3);
  const events = await api.events(id);
  expect(events.filter(({ event }) => event === 'deferred')).toHaveLength(1);
});

test('a mail that is deferred to the end fails, and its job and its URL have the server’s last words', async () => {
  const api = gatewayClient(stack.urls.gateway);
  smtp.play({ domains: { 'never.example': full } });
  const { id } = await accept(api, 'ada@never.example');
  const ended = (await api.ended(id)) as unknown as DeferredJob;
  expect(ended).toMatchObject({ state: 'failed', attempt: 3 });
  expect(ended.error?.detail).toContain('3 attempts failed; a: 452 4.2.2 <[address]> mailbox full, ticket 7');
  await until('the URL is told of both', () => callsAbout(id).length > 1);
  expect(callsAbout(id).map(({ job: { state } }) => state)).toEqual(['queued', 'failed']);
  expect(callsAbout(id)[1]?.job.error).toEqual(ended.error);
});
