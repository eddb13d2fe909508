import { grant } from '../src/credits/ledger.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, type Rig } from './rig.ts';

/** What there is in a gateway that has been used: names that lead somewhere, for tests that make up requests. */
export interface World {
  /** What can be named anywhere: not jobs without a worker, which are followed for ever, and nothing that is used up. */
  readonly words: readonly string[];
  /** What fits where, by the name of a parameter or field, or of one parameter of one operation. */
  readonly byName: Readonly<Record<string, readonly string[]>>;
  /** Bodies that are right, for operations whose schema does not say what belongs together. */
  readonly bodies: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;
}

const HOPELESS = 12;
const OPEN = 3;
const FILES = 3;
const hopeless = 'hopeless@example.com';

/** A template of an account's own. */
const receipt = {
  subject: 'Receipt',
  html: '<p>Thank you, {{name}}.</p>',
  text: 'Thank you, {{name}}.',
  variables: { name: { kind: 'line', required: true, example: 'Ada' } },
};

/**
 * Jobs that succeeded, failed and were cancelled, dead letters, an upload that waits, a declared flow with a message,
 * credits and what was charged. No worker runs any more when this resolves.
 */
export async function populate(rig: Rig): Promise<World> {
  await grant(rig.bus, 'local', 1_000_000_000, 'to begin with', Date.now());
  const upload = await uploaded(rig, 'image');
  const files = [];
  for (let n = 0; n < FILES; n += 1) files.push(await uploaded(rig, 'attachment'));
  // An account has two keys at most: the other one is left to be made.
  const { body: key } = await rig.call<{ prefix: string }>('/v1/accounts/me/keys', { json: { scopes: ['jobs:read'] } });
  const cancelled = await post(rig, '/v1/emails', {
    json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
  });
  await rig.call(`/v1/jobs/${cancelled}`, { method: 'DELETE' });

  const workers = await rig.workers({
    send: async ({ email }) => (email?.to === hopeless ? { kind: 'deadLetter', reason: 'as asked' } : undefined),
  });
  const ended = [
    await post(rig, '/v1/images', { body: png() }),
    await post(rig, '/v1/emails', { json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } } }),
  ];
  const failed = [];
  for (let n = 0; n < HOPELESS; n += 1)
    failed.push(
      await post(rig, '/v1/emails', { json: { to: hopeless, template: 'welcome', variables: { name: 'Ada' } } }),
    );
  for (const id of [...ended, ...failed]) {
    await eventually(
      async () => (await rig.call<JobView>(`/v1/jobs/${id}`)).body.state,
      (state) => state === 'succeeded' || state === 'failed',
    );
  }
  await workers.stop();
  const open = [];
  for (let n = 0; n < OPEN; n += 1)
    open.push(
      await post(rig, '/v1/emails', {
        json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
      }),
    );

  const waiting = await post(rig, '/v1/images', { body: png() });

  await rig.call('/v1/flows/shop', { method: 'PUT', json: { events: ['ordered', 'paid'] } });
  const event = { app_id: 'shop', message_id: 'order-1', event: 'ordered', created_at: '2026-01-01T00:00:00Z' };
  await rig.call('/v1/events', { json: event });
  await rig.call('/v1/templates/receipt', { method: 'PUT', json: receipt });
  for (const name of ['first', 'second', 'third'])
    await rig.call(`/v1/templates/${name}`, { method: 'PUT', json: receipt });
  const { body: erasure } = await rig.call<{ id: string }>('/v1/erasures', {
    json: { recipient: 'erased@example.com' },
  });
  const { body: letters } = await rig.call<{ deadLetters: { id: string }[] }>('/v1/dead-letters');
  const suppressed = ['bounced@example.com', 'gone@example.com', 'left@example.com'];
  for (const address of suppressed) await rig.call('/v1/suppressions', { json: { address } });
  const ids = letters.deadLetters.map(({ id }) => id);
  const { body: page } = await rig.call<{ next?: string }>('/v1/jobs?limit=1');

  // A failed job can be sent on its way again by a replay: a stream of it then would stay open for ever.
  const jobs = [cancelled, ...ended];
  const byName = {
    id: jobs,
    'id of delete /v1/jobs/{id}': open,
    // Some are deleted, the others stay for the replays.
    'id of delete /v1/dead-letters/{id}': ids.slice(0, 3),
    'id of get /v1/dead-letters/{id}': ids.slice(3),
    'id of post /v1/dead-letters/{id}:replay': ids.slice(3),
    'id of get /v1/erasures/{id}': [erasure.id],
    // Some are deleted, the others stay.
    'id of delete /v1/uploads/{id}': files,
    prefix: [key.prefix],
    index: ['0'],
    'id of get /v1/jobs/{id}/sources/{index}': [waiting],
    // Some are deleted, the others stay.
    'name of delete /v1/templates/{name}': ['first', 'second', 'third'],
    'name of put /v1/templates/{name}': ['invoice'],
    'name of get /v1/templates/{name}': ['receipt'],
    'name of post /v1/templates/{name}:preview': ['receipt'],
    code: ['overloaded', 'not_found'],
    name: ['email_sent', 'callbacks'],
    appId: ['shop'],
    app_id: ['shop'],
    messageId: ['order-1'],
    uploadId: [upload],
    address: suppressed,
    to: ['ada@example.com'],
    email: ['ada@example.com'],
    notify: ['ada@example.com'],
    recipient: ['ada@example.com'],
    callbackUrl: ['https://example.com/hook'],
    url: ['https://example.com/picture.png'],
    ...(page.next === undefined ? {} : { cursor: [page.next, '1'] }),
  };
  const welcome = { template: 'welcome', variables: { name: 'Ada' } };
  const bodies = {
    'post /v1/events': [event, { events: [event, { ...event, event: 'paid' }] }],
    'post /v1/emails': [{ ...welcome, to: 'ada@example.com' }],
    'put /v1/templates/{name}': [receipt, { ...receipt, subject: 'Your receipt' }],
    'post /v1/templates/{name}:preview': [{ variables: { name: 'Ada' } }, {}],
    'post /v1/emails:batch': [{ ...welcome, recipients: [{ to: 'ada@example.com' }] }],
  };
  const words = new Set(Object.values(byName).flat());
  for (const id of [waiting, ...open, ...ids]) words.delete(id);
  return { words: [...words, '2026-01-01T00:00:00Z'], byName, bodies };
}

async function post(rig: Rig, path: string, call: Parameters<Rig['call']>[1]): Promise<string> {
  const { status, body, text } = await rig.call<JobView>(path, call);
  if (status !== 202) throw new Error(`${path} was answered ${status}: ${text}`);
  return body.id;
}

/** A picture in the store that no job has been made of. */
async function uploaded(rig: Rig, use: 'image' | 'attachment'): Promise<string> {
  const picture = png();
  const { body } = await rig.call<{ uploadId: string; url: string }>('/v1/uploads', {
    json: { use, contentType: 'image/png', sizeBytes: picture.length },
  });
  const headers = { 'content-type': 'image/png' };
  await fetch(body.url, { method: 'PUT', body: new Uint8Array(picture), headers });
  return body.uploadId;
}
