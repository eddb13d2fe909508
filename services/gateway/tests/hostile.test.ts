import { createClient, Code, ConnectError } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { EventService, UserService } from '@sluice/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

const overConnect = () => createConnectTransport({ baseUrl: rig.gateway.url, httpVersion: '1.1' });
const refusal = async (call: Promise<unknown>): Promise<ConnectError> =>
  ConnectError.from(
    await call.then(
      () => expect.fail('was not refused'),
      (error: unknown) => error,
    ),
  );

/** `{"a":{"a": ... 1}}` as text: a nesting that no parser here is to build by itself. */
const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
const listed = (levels: number): string => `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;

describe('variables of a mail', () => {
  const mail = (variables: string) =>
    rig.call<JobView>('/v1/emails', {
      body: `{"to":"ada@example.com","template":"welcome","variables":${variables.replace('{', '{"name":"Ada",')}}`,
      headers: { 'content-type': 'application/json' },
    });

  test('are nested as deep as people nest them, and the job can be read', async () => {
    const { status, body } = await mail(nested(16));
    expect(status).toBe(202);
    expect((await rig.call(`/v1/jobs/${body.id}`)).status).toBe(200);
    expect((await mail(listed(16))).status).toBe(202);
  });

  // A message nested over a hundred deep can be written and not be read: its job was accepted and never ended.
  test.each([17, 60, 2_500])('are refused when they are nested %i deep', async (levels) => {
    for (const variables of [nested(levels), listed(levels)]) {
      expect(await mail(variables)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request', errors: [{ pointer: '/variables' }] },
      });
    }
  });

  test('are refused over RPC as well', async () => {
    const variables = JSON.parse(nested(20)) as { a: object };
    const call = createClient(UserService, overConnect()).sendEmail({
      email: { to: 'ada@example.com', template: 'welcome', variables: variables as never },
    });
    expect((await refusal(call)).code).toBe(Code.InvalidArgument);
  });
});

describe('a form that is none', () => {
  const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n';
  const broken: readonly (readonly [string, string, string | Uint8Array])[] = [
    ['without a boundary', 'multipart/form-data', 'anything'],
    ['that ends before its first part', 'multipart/form-data; boundary=b', '--b'],
    ['that ends in the head of a part', 'multipart/form-data; boundary=b', '--b\r\ncontent-dispos'],
    [
      'that ends within a small file',
      'multipart/form-data; boundary=b',
      Buffer.concat([Buffer.from(head), png().subarray(0, 60)]),
    ],
    [
      'that ends within a file on its way to the store',
      'multipart/form-data; boundary=b',
      Buffer.concat([Buffer.from(head), png(8, 6, 400_000).subarray(0, 300_000)]),
    ],
  ];
  test.each(broken)('is refused: one %s', async (_, type, body) => {
    const answer = await rig.call('/v1/images', { body, headers: { 'content-type': type } });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    for await (const { key } of rig.store.list('uploads/')) expect.fail(`${key} was left behind`);
  });
});

describe('the time of an event', () => {
  const record = (event: object) => {
    const transport = createConnectTransport({ baseUrl: rig.gateway.url, httpVersion: '1.1', useBinaryFormat: true });
    return createClient(EventService, transport).recordEvents({
      events: [{ appId: 'shop', messageId: 'order-1', event: 'paid', ...event }],
    });
  };

  // Protobuf carries times that no calendar has, which could not be shown again.
  test.each([
    ['after the year 9999', { createdAt: { seconds: 253_402_300_800n, nanos: 0 } }],
    ['before the year 1', { createdAt: { seconds: -62_135_596_801n, nanos: 0 } }],
    ['beyond what a clock can count', { createdAt: { seconds: 9_223_372_036_854_775_807n, nanos: 0 } }],
    ['with an endless duration', { durationMs: Infinity }],
    ['with a duration below zero', { durationMs: -1 }],
  ])('is refused over RPC: %s', async (_, event) => {
    expect((await refusal(record(event))).code).toBe(Code.InvalidArgument);
  });

  test('is refused over HTTP when its offset leads out of the calendar', async () => {
    const event = { app_id: 'shop', message_id: 'order-2', event: 'paid', created_at: '0000-01-01T00:00:00+23:59' };
    expect(await rig.call('/v1/events', { json: event })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/created_at' }] },
    });
  });

  test('is anything that a calendar has', async () => {
    expect((await record({ createdAt: { seconds: -62_135_596_800n, nanos: 0 } })).accepted).toBe(1);
    expect((await record({ createdAt: { seconds: 253_402_300_799n, nanos: 999_000_000 } })).accepted).toBe(1);
    const { body } = await rig.call<{ events: { at: string }[] }>('/v1/messages/shop/order-1');
    expect(body.events.map(({ at }) => at)).toEqual(['0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z']);
  });
});

test.each([{ quality: 99 }, { pageSize: 99 }, { maxWidth: 65_536 }, { maxHeight: 4_294_967_295 }])(
  'options of an image that mean nothing are refused over RPC: %o',
  async (options) => {
    const convert = (given: object) =>
      createClient(UserService, overConnect()).convertImage({
        sources: [{ from: { case: 'content', value: png() } }],
        options: given,
      });
    const error = await refusal(convert(options));
    expect({ code: error.code, message: error.rawMessage }).toEqual({
      code: Code.InvalidArgument,
      message: expect.stringContaining(`/options/${Object.keys(options)[0]}`) as string,
    });
    expect((await convert({ quality: 1, maxWidth: 65_535 })).job?.id).toMatch(/^job_/);
  },
);

describe('a request', () => {
  test('to an address that cannot be read is answered with a trace, like every other', async () => {
    for (const path of ['/v1/jobs/%ff', '/v1/jobs/%zz', `/v1/jobs/${'a'.repeat(300)}`]) {
      const { status, headers, body } = await rig.call(path);
      expect({ path, status }).toEqual({ path, status: 400 });
      expect(body['traceId']).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
      expect(headers.get('x-trace-id')).toBe(body['traceId']);
      expect(headers.get('traceresponse')).toContain(body['traceId']);
    }
  });

  test('may name JSON as the type of a body that it does not have, where none is needed', async () => {
    const headers = { 'content-type': 'application/json' };
    const { body } = await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
    });
    expect((await rig.call(`/v1/jobs/${body.id}`, { method: 'DELETE', headers })).status).toBe(202);
    expect((await rig.call('/v1/pipelines/webhooks:resume', { method: 'POST', headers })).status).toBe(202);
    expect(await rig.call('/v1/emails', { method: 'POST', headers })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
    expect((await rig.call('/v1/emails', { body: '{', headers })).status).toBe(400);
    expect((await rig.call('/v1/emails', { body: '{"__proto__":{}}', headers })).status).toBe(400);
  });
});
