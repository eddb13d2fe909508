import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import { gatewayClient, patiently, until } from '../e2e/gateway-client.ts';
import { drained, settled } from '../faults/invariants.ts';
import { otherKinds } from './other-kinds.ts';

const ROOT = join(import.meta.dirname, '../..');
const json = { 'content-type': 'application/json' };
const run = promisify(execFile);

/** Addresses and secrets that must be found in no span and no log line. */
export const CANARIES = ['canary.person', 'canary.notify', 'CanaryBearerToken1'];

/** The `traceparent` of the webhook of a job, as its receiver was given it. */
export interface Called {
  readonly jobId: string;
  readonly traceparent: string | undefined;
}

/** A mail whose sender wants to be called, and the call. */
async function calledBack(api: ReturnType<typeof gatewayClient>): Promise<Called> {
  const call = Promise.withResolvers<string | undefined>();
  const receiver = createServer((request, response) => {
    request.resume();
    response.end();
    call.resolve(request.headers['traceparent']?.toString());
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const callbackUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  const mail = { to: 'canary.person@example.com', template: 'welcome', variables: { name: 'Ada' }, callbackUrl };
  try {
    const { id: jobId } = await api.accept('/v1/emails', JSON.stringify(mail), json);
    return { jobId, traceparent: await call.promise };
  } finally {
    receiver.close();
    receiver.closeAllConnections();
  }
}

/** Jobs of every kind, through every entry point: what a day of the system looks like to its telemetry. */
export async function everyRoad(
  stack: Stack,
): Promise<{ readonly jobIds: readonly string[]; readonly called: Called }> {
  const api = gatewayClient(stack.urls.gateway);
  const sample = (name: string) => readFile(join(ROOT, 'samples', name));
  const [photo, screenshot] = await Promise.all([sample('photo.jpg'), sample('screenshot.png')]);
  const secret = { authorization: 'Bearer CanaryBearerToken1' };
  const mail = (template: string, priority: string) =>
    JSON.stringify({
      to: 'canary.person@example.com',
      template,
      priority,
      variables: template === 'welcome' ? { name: 'Ada' } : { subject: 'Hello', message: 'It works.' },
    });
  const accepted = await Promise.all([
    api.accept('/v1/images', photo, secret),
    api.accept('/v1/images?priority=express&notify=canary.notify@example.com', screenshot, secret),
    // Larger than what travels inside a message: through the object store.
    api.accept('/v1/images', Buffer.concat([photo, Buffer.alloc(300_000)])),
    api.accept('/v1/images?priority=express', Buffer.concat([screenshot, Buffer.alloc(300_000)])),
    api.accept('/v1/images', screenshot.subarray(0, screenshot.length / 2)),
    ...['normal', 'express'].flatMap((priority) =>
      ['welcome', 'notification'].map((template) => api.accept('/v1/emails', mail(template, priority), json)),
    ),
    api.accept('/v1/users', JSON.stringify({ name: 'Ada', email: 'canary.person@example.com' }), json),
    ...Object.entries(otherKinds)
      .filter(([kind, body]) => body !== undefined && stack.services.some(({ service }) => service === kind))
      .map(([kind, body]) => api.accept(`/v1/${kind}`, JSON.stringify(body), json)),
  ]);
  const called = await calledBack(api);
  // A listener, questions, and what is refused.
  const [first] = accepted;
  const stream = await fetch(`${stack.urls.gateway}/v1/jobs/${first?.id}/stream`, { headers: secret });
  await stream.text();
  for (const { id } of accepted) await api.ended(id);
  await api.events(first?.id ?? '');
  await api.pdf(first?.id ?? '');
  await fetch(`${stack.urls.gateway}/v1/jobs/nobody?recipient=canary.person@example.com`);
  await api.post('/v1/images', 'no image');

  // The same over Connect.
  const call = async (method: string, message: object) => {
    const answer = await fetch(`${stack.urls.gateway}/sluice.v1.${method}`, {
      method: 'POST',
      headers: json,
      body: JSON.stringify(message),
    });
    if (!answer.ok) throw new Error(`${method}: HTTP ${answer.status} ${await answer.text()}`);
  };
  await call('JobService/GetJob', { id: first?.id });
  await patiently(() => call('UserService/CreateUser', { name: 'Ada', email: 'canary.person@example.com' }));

  const command = (...args: string[]) =>
    run(process.execPath, [join(ROOT, 'services/client/src/command.ts'), ...args], {
      env: { ...process.env, NATS_URL: stack.urls.nats },
    });
  await command('create-user', '--name', 'Ada', '--email', 'canary.person@example.com');
  await command(
    'send-email',
    '--to',
    'canary.person@example.com',
    '--template',
    'welcome',
    '--variables',
    '{"name":"Ada"}',
  );
  await command('convert-image', '--file', join(ROOT, 'samples/scan.png'));

  // A message that cannot be decoded is dead-lettered; an operator looks at it and replays it.
  const nc = await connectNats({ url: stack.urls.nats, name: 'garbage' });
  nc.publish('user.create', 'no protobuf');
  await nc.drain();
  await replayDeadLetter(stack);
  return { jobIds: accepted.map(({ id }) => id), called };
}

/** Longer than a span takes to end after its message is settled, and than a batch of them waits to be full. */
const QUIET_MS = 2_000;

/**
 * Resolves when no work is left and every span and log line that the services made has been sent: all that there will
 * be has arrived.
 */
export async function arrived(stack: Stack): Promise<void> {
  await drained(stack);
  await settled(stack);
  let made = '';
  let sinceMs = performance.now();
  await until('every span and log line has arrived', async () => {
    const shipped = await Promise.all(stack.services.map(({ opsUrl }) => shipping(opsUrl)));
    const now = shipped.map(({ offered }) => offered).join(' ');
    if (now !== made || shipped.some(({ offered, sent }) => sent < offered)) sinceMs = performance.now();
    made = now;
    return performance.now() - sinceMs >= QUIET_MS;
  });
}

/** How many spans and log lines a service has made, and how many of them the receiver has taken. */
async function shipping(opsUrl: string): Promise<{ readonly offered: number; readonly sent: number }> {
  const text = await (await fetch(`${opsUrl}/metrics`)).text();
  const sum = (pattern: RegExp): number => [...text.matchAll(pattern)].reduce((all, [, n]) => all + Number(n), 0);
  return {
    offered: sum(/^telemetry_items_offered_total\{.*\} (\d+)/gm),
    sent: sum(/^telemetry_items_exported_total\{[^}]*result="ok".*\} (\d+)/gm),
  };
}

async function replayDeadLetter(stack: Stack): Promise<void> {
  const url = `${stack.urls.gateway}/v1/dead-letters`;
  let id = '';
  await until('there is a dead letter to replay', async () => {
    const found = (await (await fetch(url)).json()) as { deadLetters: readonly { id: string; subject: string }[] };
    id = found.deadLetters.find(({ subject }) => subject === 'user.create')?.id ?? '';
    return id !== '';
  });
  const answer = await fetch(`${url}/${id}:replay`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  if (!answer.ok) throw new Error(`replay: HTTP ${answer.status} ${await answer.text()}`);
}
