import { create, toBinary } from '@bufbuild/protobuf';
import { ConvertImageRequestSchema, SendEmailRequestSchema } from '@sluice/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const found = async (query: string): Promise<string[]> =>
  (await rig.call<{ jobs: JobView[] }>(`/v1/jobs?${query}`)).body.jobs.map(({ id }) => id);
const foundEventually = (query: string, ids: readonly string[]) =>
  eventually(
    () => found(query),
    (each) => each.length === ids.length && ids.every((id) => each.includes(id)),
  );
const mail = (more: object) =>
  rig.call<JobView>('/v1/emails', {
    json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, ...more },
  });

describe('metadata of a request', () => {
  test('is shown with the job and found, alone and together with other filters', async () => {
    const metadata = { order: '17', 'team.name': 'red: and blue' };
    const { status, body } = await mail({ metadata });
    expect({ status, metadata: body.metadata }).toEqual({ status: 202, metadata });
    const { body: other } = await mail({ metadata: { order: '18' } });
    await foundEventually('metadata=order:17', [body.id]);
    await foundEventually('metadata=order:18', [other.id]);
    expect(await found(`metadata=order:17&metadata=${encodeURIComponent('team.name:red: and blue')}`)).toEqual([
      body.id,
    ]);
    expect(await found('metadata=order:17&metadata=team.name:green')).toEqual([]);
    expect(await found('metadata=order:17&kind=image')).toEqual([]);
    expect((await rig.call<JobView>(`/v1/jobs/${body.id}`)).body.metadata).toEqual(metadata);
  });

  test.each([
    ['more than 16 pairs', Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v']))],
    ['an empty value', { a: '' }],
    ['a value that is too long', { a: 'x'.repeat(257) }],
    ['a control character', { a: 'b\nc' }],
    ['a key with a space', { 'a b': 'c' }],
    ['a key that objects have', { ['__proto__']: 'c' }],
    ['a key that is too long', { ['k'.repeat(65)]: 'v' }],
  ])('of %s is refused', async (_, metadata) => {
    expect((await mail({ metadata })).status).toBe(400);
  });

  test('is part of the request that an Idempotency-Key stands for', async () => {
    const headers = { 'idempotency-key': 'with-metadata' };
    const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
    const first = await rig.call<JobView>('/v1/emails', { json: { ...json, metadata: { a: '1' } }, headers });
    const repeat = await rig.call<JobView>('/v1/emails', { json: { ...json, metadata: { a: '1' } }, headers });
    const other = await rig.call('/v1/emails', { json: { ...json, metadata: { a: '2' } }, headers });
    expect([repeat.body.id, other.status]).toEqual([first.body.id, 422]);
  });

  test('comes with images in the query, as fields of a form, and in JSON', async () => {
    const asBody = await rig.call<JobView>('/v1/images?metadata=from:query&fileName=Scan.png', { body: png() });
    const form = new FormData();
    form.append('metadata', 'from:form');
    form.append('metadata', 'second:pair');
    form.append('file', new Blob([png()]), 'folder/Holiday.png');
    const asForm = await rig.call<JobView>('/v1/images', { body: form });
    const asJson = await rig.call<JobView>('/v1/images', {
      json: { url: 'https://example.com/pictures/cat.png?size=1', metadata: { from: 'json' } },
    });
    expect(asBody.body).toMatchObject({ metadata: { from: 'query' }, fileNames: ['Scan.png'] });
    expect(asForm.body).toMatchObject({ metadata: { from: 'form', second: 'pair' }, fileNames: ['Holiday.png'] });
    expect(asJson.body).toMatchObject({ metadata: { from: 'json' }, fileNames: ['cat.png'] });
    await foundEventually('fileName=scan.PNG', [asBody.body.id]);
    await foundEventually('fileName=Holiday.png&metadata=from:form', [asForm.body.id]);
    await foundEventually('metadata=from:json', [asJson.body.id]);
    expect((await rig.call('/v1/images?metadata=from', { body: png() })).status).toBe(400);
  });

  test('comes with commands over NATS', async () => {
    const email = { to: 'bob@example.com', template: 'welcome', variables: { name: 'Bob' } };
    const send = create(SendEmailRequestSchema, { email, metadata: { via: 'nats' } });
    await rig.bus.port.publish('user.send.email', toBinary(SendEmailRequestSchema, send));
    const source = { from: { case: 'content' as const, value: png() }, fileName: 'nats.png' };
    const convert = create(ConvertImageRequestSchema, { sources: [source], metadata: { via: 'nats' } });
    await rig.bus.port.publish('user.convert.image', toBinary(ConvertImageRequestSchema, convert));
    await eventually(
      () => found('metadata=via:nats'),
      (ids) => ids.length === 2,
    );
    await eventually(
      () => found('metadata=via:nats&fileName=nats.png'),
      (ids) => ids.length === 1,
    );
  });
});

test('jobs are counted per state', async () => {
  const { body } = await rig.call<{ total: number; states: Record<string, number> }>('/v1/jobs:counts');
  expect(Object.values(body.states).reduce((sum, count) => sum + count, 0)).toBe(body.total);
  const { body: images } = await rig.call<{ total: number }>('/v1/jobs:counts?kind=image');
  expect(images.total).toBeLessThan(body.total);
});

test('errors of failed jobs are counted, the most frequent first', async () => {
  await rig.workers({ convert: () => Promise.resolve('corrupt_image') });
  const { body: job } = await rig.call<JobView>('/v1/images', { body: png(), headers: { prefer: 'wait=20' } });
  expect(job.state).toBe('failed');
  const errors = async (query = '') =>
    (await rig.call<{ counted: number; more: boolean; errors: { jobs: number }[] }>(`/v1/jobs:errors${query}`)).body;
  const counted = await eventually(errors, ({ errors: found }) => found.length > 0);
  expect(counted.errors[0]).toMatchObject({ code: 'corrupt_image', newestAt: expect.any(String) as string });
  // Jobs of the tests before fail meanwhile, too.
  expect(counted).toMatchObject({ more: false, counted: counted.errors.reduce((sum, { jobs }) => sum + jobs, 0) });
  expect(await errors('?kind=email')).toEqual({ counted: 0, more: false, errors: [] });
});
