import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient, dataOf, type Sluice } from '@sluice/client';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';

const ROOT = join(import.meta.dirname, '../../../..');
export const SAMPLES = join(ROOT, 'samples');
const ACCOUNT = 'acme';
const CLI = join(ROOT, 'services/gateway/src/cli');

/** A running system with something of everything in it, and a key that may do all. */
export interface Pictured {
  readonly stack: Stack;
  readonly key: string;
  /** An image job that has ended. */
  readonly jobId: string;
  /** One of its replicas is killed, and stays away for a minute. */
  killReplica(): void;
}

/** Starts it, and fills it with what the pictures show. */
export async function startPictured(dataDirectory: string): Promise<Pictured> {
  const stack = await startStack({
    dataDirectory,
    imageReplicas: 2,
    restartAfterMs: 60_000,
    env: { gateway: { AUTH: 'keys', CREDITS: 'on', WEBHOOK_TARGETS: 'any' } },
  });
  const cli = async (program: string, ...words: string[]): Promise<string> => {
    const env = { ...process.env, NATS_URL: stack.urls.nats, SLUICE_ENV: 'dev' };
    return (await promisify(execFile)(process.execPath, [join(CLI, program), ...words], { env })).stdout;
  };
  const scopes = ['jobs:write', 'jobs:read', 'events:write', 'events:read', 'account:read', 'webhooks:secrets'];
  const made = await cli('keys.ts', 'create', ACCOUNT, ...scopes, 'templates:write', 'keys', 'admin');
  const key = /sk_[\w-]+/.exec(made)?.[0] ?? '';
  await cli('credits.ts', 'grant', ACCOUNT, '100000');
  const sluice = createClient({ baseUrl: stack.urls.gateway, apiKey: key });
  const jobId = await fill(stack, sluice);
  return {
    stack,
    key,
    jobId,
    killReplica: () => stack.services.find(({ name }) => name === 'image-2')?.kill('SIGKILL'),
  };
}

async function fill(stack: Stack, sluice: Sluice): Promise<string> {
  const wait = { waitSeconds: 30 };
  for (const name of ['Ada', 'Grace', 'Edsger', 'Barbara']) {
    const to = `${name.toLowerCase()}@example.com`;
    await sluice.emails.send({ to, template: 'welcome', variables: { name }, metadata: { team: 'sales' } }, wait);
  }
  const callbackUrl = 'https://hooks.example.invalid/sluice';
  await sluice.emails.send({ to: 'alan@example.com', template: 'welcome', variables: { name: 'Alan' }, callbackUrl });
  const fileOf = async (name: string, end?: number): Promise<File> =>
    new File([(await readFile(join(SAMPLES, name))).subarray(0, end)], name, { type: 'image/png' });
  const photo = await fileOf('photo.jpg');
  await sluice.images.convert(await fileOf('photo.jpg', 3_000), { fileName: 'broken.jpg', ...wait });
  await sluice.images.convert(photo, { pageSize: 'a4', priority: 'express', ...wait });
  const { id } = await sluice.images.convert([await fileOf('scan.png'), photo], {
    metadata: { order: '4711' },
    ...wait,
  });

  await dataOf(
    sluice.api.PUT('/v1/templates/{name}', {
      params: { path: { name: 'receipt' } },
      body: {
        subject: 'Your receipt {{number}}',
        mjml: `<mjml>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text font-size="20px">Thank you, {{name}}</mj-text>
        <mj-text>Your receipt {{number}} is attached.</mj-text>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>`,
        text: 'Thank you, {{name}}. Your receipt {{number}} is attached.',
        variables: {
          name: { kind: 'line', required: true, example: 'Ada' },
          number: { kind: 'line', required: true, example: '2026-1204' },
        },
      },
    }),
  );
  for (const address of ['bounced@example.com', 'gone@example.com']) {
    await sluice.api.POST('/v1/suppressions', { body: { address } });
  }
  const params = { path: { appId: 'orders' } };
  await sluice.api.PUT('/v1/flows/{appId}', {
    params,
    body: { events: ['received', 'paid', 'shipped'], withinMs: 1_000 },
  });
  await sluice.api.POST('/v1/events', {
    body: {
      events: [
        ['order-17', 'received'],
        ['order-17', 'paid'],
        ['order-17', 'shipped'],
        ['order-18', 'received'],
        ['order-18', 'paid'],
        ['order-19', 'received'],
      ].map(([messageId = '', event = ''], at) => ({
        app_id: 'orders',
        message_id: messageId,
        event,
        created_at: new Date(Date.now() - 60_000 + at * 1_700).toISOString(),
      })),
    },
  });
  const nc = await connectNats({ url: stack.urls.nats, name: 'pictures' });
  for (let n = 0; n < 3; n += 1) nc.publish('image.convert.binary', new Uint8Array([255, 255, n]));
  await nc.drain();
  return id;
}
