import { create, toBinary } from '@bufbuild/protobuf';
import { SendEmailRequestSchema } from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
let key: string;
let admin: string;
beforeAll(async () => {
  rig = await startRig({ settings: { auth: 'keys' } });
  const kv = await openBucket(rig.bus.nc, buckets.apiKeys);
  key = (await createKey(kv, 'acme', ['jobs:write', 'jobs:read'])).key;
  admin = (await createKey(kv, 'operator', ['admin'])).key;
  await eventually(
    () => rig.call('/v1/jobs', { headers: bearer(key) }),
    ({ status }) => status === 200,
  );
});
afterAll(() => rig?.stop());

const bearer = (given: string) => ({ authorization: `Bearer ${given}` });
const command = (to: string): Uint8Array =>
  toBinary(
    SendEmailRequestSchema,
    create(SendEmailRequestSchema, { email: { to, template: 'welcome', variables: { name: 'Ada' } } }),
  );
const jobsOf = async (recipient: string) =>
  (await rig.call<{ jobs: JobView[] }>(`/v1/jobs?recipient=${recipient}`, { headers: bearer(key) })).body.jobs;
const deadLetters = async () =>
  (
    await rig.call<{
      deadLetters: { id: string; messageId: string; detail: string; headers: Record<string, string[]> }[];
    }>('/v1/dead-letters?consumer=commands', { headers: bearer(admin) })
  ).body.deadLetters;

describe('a command over NATS', () => {
  test.each([
    ['without a key', {}],
    ['with a key that is not known', { Authorization: 'Bearer sk_wrong' }],
  ])('%s is refused when keys are on', async (name, headers) => {
    const id = `stranger ${name}`;
    await rig.bus.port.publish('user.send.email', command('stranger@example.com'), { id, headers });
    const letters = await eventually(deadLetters, (found) => found.some(({ messageId }) => messageId === id));
    expect(letters.find(({ messageId }) => messageId === id)?.detail).toMatch(/key/i);
    expect(await jobsOf('stranger@example.com')).toEqual([]);
  });

  test.each(['Authorization', 'authorization'])('is for the account of the key in its %s header', async (header) => {
    const to = `${header === 'Authorization' ? 'upper' : 'lower'}@example.com`;
    await rig.bus.port.publish('user.send.email', command(to), {
      id: `own ${header}`,
      headers: { [header]: `Bearer ${key}` },
    });
    await eventually(
      () => jobsOf(to),
      (jobs) => jobs.length === 1,
    );
  });

  test('that is refused leaves no key in its dead letter', async () => {
    const id = 'no recipient';
    await rig.bus.port.publish('user.send.email', command('nobody'), {
      id,
      headers: { Authorization: `Bearer ${key}` },
    });
    await eventually(deadLetters, (found) => found.some(({ messageId }) => messageId === id));
    const { state } = await rig.bus.jsm.streams.info('DLQ');
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const stored = await rig.bus.jsm.streams.getMessage('DLQ', { seq });
      if (stored?.header.get(DEAD_LETTER.messageId) !== id) continue;
      expect(JSON.stringify(stored.header.keys().map((name) => stored.header.values(name)))).not.toContain(key);
      return;
    }
    expect.fail('its dead letter was not found');
  });

  test('that lacks a variable of its template goes to the dead letters and says which', async () => {
    const id = 'no name';
    const email = { to: 'unnamed@example.com', template: 'welcome' };
    const payload = toBinary(SendEmailRequestSchema, create(SendEmailRequestSchema, { email }));
    await rig.bus.port.publish('user.send.email', payload, { id, headers: { Authorization: `Bearer ${key}` } });
    const letters = await eventually(deadLetters, (found) => found.some(({ messageId }) => messageId === id));
    expect(letters.find(({ messageId }) => messageId === id)?.detail).toContain(
      '/variables/name is missing (template welcome)',
    );
    expect(await jobsOf('unnamed@example.com')).toEqual([]);
  });

  test.each([
    ['with a body', 'x'],
    ['without a body', ''],
  ])(
    'whose header has a name with a blank, %s, goes to the dead letters, and the next is taken',
    async (name, body) => {
      const before = (await deadLetters()).length;
      // As other clients may write it, and nats.js throws for when it reads it.
      const headers = { encode: () => Buffer.from('NATS/1.0\r\nBad Name: x\r\n\r\n') };
      rig.bus.nc.publish('user.create', body, { headers } as unknown as Parameters<typeof rig.bus.nc.publish>[2]);
      await eventually(deadLetters, (found) => found.length > before);
      const to = `${name.replaceAll(' ', '-')}@example.com`;
      const next = { id: name, headers: { Authorization: `Bearer ${key}` } };
      await rig.bus.port.publish('user.send.email', command(to), next);
      await eventually(
        () => jobsOf(to),
        (jobs) => jobs.length === 1,
      );
    },
  );

  test.each(['user.unknown.thing', 'image.convert.unknown', 'email.send.unknown'])(
    'that no consumer takes is refused by the broker: %s',
    async (subject) => {
      await expect(rig.bus.port.publish(subject, 'x', { id: subject })).rejects.toMatchObject({ code: 'NO_STREAM' });
    },
  );
});

test('a command waits while its lane is full, and is taken when there is room', async () => {
  let full = true;
  const other = await startRig({
    settings: { auth: 'off', pressure: { maxBacklog: 50_000, maxWaitMs: 300_000, isBehind: () => full } },
  });
  try {
    await other.bus.port.publish('user.send.email', command('later@example.com'), { id: 'later' });
    await eventually(
      () => other.bus.jsm.consumers.info('USERS', 'commands'),
      ({ num_ack_pending, num_redelivered }) => num_ack_pending === 1 && num_redelivered === 1,
    );
    full = false;
    await eventually(
      async () => (await other.call<{ jobs: JobView[] }>('/v1/jobs?recipient=later@example.com')).body.jobs,
      (jobs) => jobs.length === 1,
    );
  } finally {
    await other.stop();
  }
});
