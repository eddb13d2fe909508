import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import { gatewayClient } from '../e2e/gateway-client.ts';

const ROOT = join(import.meta.dirname, '../..');
const json = { 'content-type': 'application/json' };
const run = promisify(execFile);

/** Addresses and secrets that must be found in no span and no log line. */
export const CANARIES = ['canary.person', 'canary.notify', 'CanaryBearerToken1'];

/** The gateway turns work away while its machine is full (503, Retry-After); a client comes back with it. */
export async function patiently<R>(ask: () => Promise<R>): Promise<R> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (tries === 60 || !String(error).includes('HTTP 503')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

/** Jobs of every kind, over every road: what a day of the system looks like to its telemetry. */
export async function everyRoad(stack: Stack): Promise<{ readonly jobIds: readonly string[] }> {
  const api = gatewayClient(stack.urls.gateway);
  const accept = (...order: Parameters<typeof api.accept>) => patiently(() => api.accept(...order));
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
    accept('/v1/images', photo, secret),
    accept('/v1/images?priority=express&notify=canary.notify@example.com', screenshot, secret),
    // Larger than what travels inside a message: through the object store.
    accept('/v1/images', Buffer.concat([photo, Buffer.alloc(300_000)])),
    accept('/v1/images?priority=express', Buffer.concat([screenshot, Buffer.alloc(300_000)])),
    accept('/v1/images', screenshot.subarray(0, screenshot.length / 2)),
    ...['normal', 'express'].flatMap((priority) =>
      ['welcome', 'notification'].map((template) => accept('/v1/emails', mail(template, priority), json)),
    ),
    accept('/v1/users', JSON.stringify({ name: 'Ada', email: 'canary.person@example.com' }), json),
  ]);
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

  // A message nobody can read dies; an operator looks at it and sends it on its way again.
  const nc = await connectNats({ url: stack.urls.nats, name: 'garbage' });
  nc.publish('user.create', 'no protobuf');
  await nc.drain();
  await replayDeadLetter(stack);
  return { jobIds: accepted.map(({ id }) => id) };
}

/** Resolves when no span and no log line has come in for a while: all that was on its way has arrived. */
export async function arrived(stack: Stack, quietMs = 3000, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last = '';
  let since = performance.now();
  while (performance.now() < deadline) {
    const { spans, logs } = stack.otlp.store.counts;
    const now = `${spans} ${logs}`;
    if (now !== last) since = performance.now();
    else if (performance.now() - since >= quietMs && spans > 0) return;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function replayDeadLetter(stack: Stack): Promise<void> {
  const url = `${stack.urls.gateway}/v1/dead-letters`;
  for (let tries = 0; tries < 100; tries += 1) {
    const found = (await (await fetch(url)).json()) as { deadLetters: readonly { id: string; subject: string }[] };
    const dead = found.deadLetters.find(({ subject }) => subject === 'user.create');
    if (dead !== undefined) {
      const answer = await fetch(`${url}/${dead.id}:replay`, { method: 'POST' });
      if (!answer.ok) throw new Error(`replay: HTTP ${answer.status} ${await answer.text()}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('no dead letter to replay');
}
