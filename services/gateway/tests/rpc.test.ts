import { createClient, Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { create, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  timestampFromMs,
  timestampMs,
} from '@bufbuild/protobuf/wkt';
import {
  BadRequestSchema,
  channels,
  ErrorInfoSchema,
  EventService,
  JobService,
  JobState,
  RetryInfoSchema,
  ServerReflection,
  UserService,
  WaitingReason,
} from '@sluice/contracts';
import { buckets, openBucket } from '@sluice/messaging';
import type { ObjectStore } from '@sluice/storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey } from '../src/accounts/api-keys.ts';
import { GatewayError, type ErrorCode } from '../src/errors.ts';
import { problems } from '../src/http/problem.ts';
import { rpcCodes, rpcError } from '../src/grpc/problem-codes.ts';
import type { Gateway } from '../src/gateway.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { rpcPort: 0 } });
});
afterAll(() => rig?.stop());

const grpcOf = (gateway: Gateway, headers: Record<string, string> = {}): Transport =>
  createGrpcTransport({
    baseUrl: `http://127.0.0.1:${gateway.rpcPort}`,
    interceptors: [
      (next) => (request) => {
        for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
        return next(request);
      },
    ],
  });
const grpc = () => grpcOf(rig.gateway);
const refusal = async (call: Promise<unknown>): Promise<ConnectError> =>
  ConnectError.from(
    await call.then(
      () => expect.fail('was not refused'),
      (error: unknown) => error,
    ),
  );
const reasonOf = (error: ConnectError): string | undefined => error.findDetails(ErrorInfoSchema)[0]?.reason;
const mail = (to = 'ada@example.test') => ({ email: { to, template: 'notification', variables: { message: 'Hi' } } });

describe('a job over gRPC', () => {
  test('is the job that HTTP shows, from the call to its end', async () => {
    const workers = await rig.workers();
    const { job } = await createClient(UserService, grpc()).sendEmail(mail());
    expect(job).toMatchObject({ state: JobState.ACCEPTED, account: 'local', requestHash: '' });
    const jobs = createClient(JobService, grpc());
    const ended = await eventually(
      async () => (await jobs.getJob({ id: job!.id })).job,
      (read) => read?.state === JobState.SUCCEEDED,
    );
    expect(ended?.result?.work.case).toBe('email');
    expect((await jobs.getJob({ id: job!.id })).waitingFor).toBeUndefined();
    expect((await rig.call(`/v1/jobs/${job!.id}`)).body).toMatchObject({ state: 'succeeded', traceId: job!.traceId });
    await workers.stop();
  });

  test('says what it waits for, as HTTP does', async () => {
    const { job } = await createClient(UserService, grpc()).sendEmail(mail());
    const waits = async (verb: string, reason: WaitingReason) => {
      await rig.call(`/v1/pipelines/notification_mailer:${verb}`, { method: 'POST' });
      return await eventually(
        async () => (await createClient(JobService, grpc()).getJob({ id: job!.id })).waitingFor,
        (found) => found?.reason === reason && found.ahead !== 0,
      );
    };
    const shown = async () => (await rig.call<JobView>(`/v1/jobs/${job!.id}`)).body.waitingFor;
    const paused = await waits('pause', WaitingReason.PAUSED);
    const { detail, since } = (await shown()) ?? {};
    expect([paused?.detail, paused?.ahead]).toEqual(['notification_mailer: paused by local', undefined]);
    expect([paused?.detail, new Date(timestampMs(paused!.since!)).toISOString()]).toEqual([detail, since]);
    const unattended = await waits('resume', WaitingReason.NO_WORKER);
    expect([unattended?.detail, unattended?.since]).toEqual([
      'no worker of notification_mailer asks for work',
      undefined,
    ]);
    expect(unattended?.ahead).toBeGreaterThan(0);
  });

  test('meets the job of an earlier request with its key, over whichever protocol that came', async () => {
    const json = { to: 'eve@example.test', template: 'welcome', variables: { name: 'Eve' } };
    const first = await rig.call<{ id: string }>('/v1/emails', { json, headers: { 'idempotency-key': 'k1' } });
    const { job } = await createClient(UserService, grpc()).createUser({
      name: 'Eve',
      email: 'eve@example.test',
      idempotencyKey: 'k1',
    });
    expect(job?.id).toBe(first.body.id);
  });

  test('takes pictures: small ones inside the message, large ones through the store', async () => {
    const users = createClient(UserService, grpc());
    for (const [picture, kind] of [
      [png(), 'content'],
      [png(8, 6, 400_000), 'key'],
    ] as const) {
      const { job } = await users.convertImage({ sources: [{ from: { case: 'content', value: picture } }] });
      const accepted = await rig.bus.last(channels.job, { jobId: job!.id }, 'leader');
      const work = accepted?.data.job?.request?.work;
      expect(work?.case === 'image' && work.value.sources[0]?.from.case).toBe(kind);
    }
  });

  test('takes a large picture in pieces, so that other calls are answered meanwhile', async () => {
    const pieces: number[] = [];
    const store: ObjectStore = {
      ...rig.store,
      upload: (key, settings) => {
        const upload = rig.store.upload(key, settings);
        return {
          write: (bytes) => {
            pieces.push(bytes.length);
            return upload.write(bytes);
          },
          finish: () => upload.finish(),
          abandon: () => upload.abandon(),
        };
      },
    };
    const { url } = await rig.replica({ store });
    const users = createClient(UserService, createConnectTransport({ baseUrl: url, httpVersion: '1.1' }));
    await users.convertImage({ sources: [{ from: { case: 'content', value: png(8, 6, 2_000_000) } }] });
    expect(pieces.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(2_000_000);
    // The first is what the picture is judged by.
    expect(Math.max(...pieces)).toBeLessThanOrEqual(320 * 1024);
  });

  test('of another account is not found, and neither is one that never was', async () => {
    const error = await refusal(createClient(JobService, grpc()).getJob({ id: 'job_aaaaaaaaaaaaaaaaaaaaaaaaaa' }));
    expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, 'not_found']);
  });
});

describe('lifecycle events over gRPC', () => {
  test('are stored once the call is answered', async () => {
    const events = createClient(EventService, grpc());
    const at = timestampFromMs(Date.UTC(2026, 0, 1));
    const list = ['published', 'received'].map((event) => ({ appId: 'shop', messageId: 'g1', event, createdAt: at }));
    expect((await events.recordEvents({ events: list })).accepted).toBe(2);
    const { body } = await rig.call<{ events: { event: string }[] }>('/v1/messages/shop/g1');
    expect(body.events.map(({ event }) => event)).toEqual(['published', 'received']);
  });

  test.each([
    [[], '/events'],
    [[{ messageId: 'm', event: 'e' }], '/events/0/app_id'],
    [[{ appId: 'image', messageId: 'm', event: 'e' }], '/events/0/app_id'],
    [[{ appId: 'a', messageId: '*', event: 'e' }], '/events/0/message_id'],
    [
      [
        { appId: 'a', messageId: 'm', event: 'e' },
        { appId: 'a', messageId: 'm' },
      ],
      '/events/1/event',
    ],
    [[{ appId: 'a', messageId: 'm', event: 'e'.repeat(65) }], '/events/0/event'],
    [[{ appId: 'a', messageId: 'm', event: 'e', earlier: [{ event: 'forged' }] }], '/events/0/earlier'],
    [[{ appId: 'a', messageId: 'm', event: 'e', heldMs: 60_000 }], '/events/0/heldMs'],
  ])('%j are refused as a whole, saying where', async (list, field) => {
    const error = await refusal(createClient(EventService, grpc()).recordEvents({ events: list }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
  });
});

describe('every problem', () => {
  test.each(Object.keys(problems) as ErrorCode[])('%s travels as a status, with its code as the reason', (code) => {
    const error = rpcError(new GatewayError(code, 'why', { retryAfterSeconds: 2.9994, jobId: 'job_1' }));
    expect(error.code).toBe(rpcCodes[code]);
    const details = error.details.flatMap((detail) => ('value' in detail ? [detail.value] : []));
    expect(details).toMatchObject([
      { reason: code, metadata: { jobId: 'job_1' } },
      { retryDelay: { seconds: 3n, nanos: 0 } },
    ]);
  });

  test('that a repeat can fix is one that client libraries repeat', () => {
    // A conflict with what is under way now, and is over soon.
    const passing = new Set(['request_in_progress', 'erasure_running']);
    const retried = [Code.Unavailable, Code.Aborted, Code.ResourceExhausted, Code.DeadlineExceeded];
    for (const [code, { status }] of Object.entries(problems)) {
      const isRetried = [408, 413, 429, 431, 503].includes(status) || passing.has(code);
      expect([code, retried.includes(rpcCodes[code as ErrorCode])]).toEqual([code, isRetried]);
    }
  });

  test('on our side says nothing of the inside', async () => {
    const broken = await rig.replica({ settings: { rpcPort: 0, pressure: { maxBacklog: 0, maxWaitMs: 1 } } });
    const error = await refusal(createClient(UserService, grpcOf(broken)).sendEmail(mail()));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, 'overloaded']);
    expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    expect(Number(error.metadata.get('retry-after'))).toBeGreaterThan(0);
  });

  test('with a field says which', async () => {
    const error = await refusal(createClient(UserService, grpc()).sendEmail(mail('a@b.test, c@d.test')));
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([{ field: '/to' }]);
  });

  test('with a variable missing says which, and of which template', async () => {
    const email = { to: 'ada@example.test', template: 'welcome' };
    const error = await refusal(createClient(UserService, grpc()).sendEmail({ email }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
      { field: '/variables/name', description: 'is missing (template welcome)' },
    ]);
  });

  test('of a key used for two requests names the job of the first', async () => {
    const users = createClient(UserService, grpc());
    const { job } = await users.sendEmail({ ...mail(), idempotencyKey: 'k2' });
    const error = await refusal(users.sendEmail({ ...mail('bob@example.test'), idempotencyKey: 'k2' }));
    expect([error.code, error.findDetails(ErrorInfoSchema)[0]?.metadata['jobId']]).toEqual([
      Code.AlreadyExists,
      job!.id,
    ]);
  });

  test('of a picture is told as over HTTP', async () => {
    const users = createClient(UserService, grpc());
    const send = (from: object) => refusal(users.convertImage({ sources: [{ from } as never] }));
    expect(reasonOf(await send({ case: 'content', value: Buffer.from('<svg/>') }))).toBe('unsupported_media_type');
    expect(reasonOf(await send({ case: 'key', value: 'uploads/job_x/0' }))).toBe('invalid_request');
    expect(reasonOf(await refusal(users.convertImage({})))).toBe('invalid_request');
  });
});

describe('keys and limits', () => {
  test('hold as over HTTP', async () => {
    const keys = await openBucket(rig.bus.nc, buckets.apiKeys);
    const { key } = await createKey(keys, 'acme', ['jobs:write']);
    // The clock stands still: the limit of an hour is not to end in the middle.
    const nowMs = Date.now();
    const guarded = await rig.replica({
      now: () => nowMs,
      settings: { rpcPort: 0, auth: 'keys', rates: { globalPerSecond: 0, accountPerSecond: 0, recipientPerHour: 2 } },
    });
    const as = (headers: Record<string, string>) => createClient(UserService, grpcOf(guarded, headers));
    const bearer = { authorization: `Bearer ${key}` };
    expect((await refusal(as({}).sendEmail(mail()))).code).toBe(Code.Unauthenticated);
    expect((await refusal(as({ authorization: 'Bearer sk_wrong' }).sendEmail(mail()))).code).toBe(Code.Unauthenticated);
    expect((await as(bearer).sendEmail(mail('one@example.test'))).job?.account).toBe('acme');
    const jobs = createClient(JobService, grpcOf(guarded, bearer));
    expect((await refusal(jobs.getJob({ id: 'x' }))).code).toBe(Code.PermissionDenied);
    await as(bearer).sendEmail(mail('one@example.test'));
    const limited = await refusal(as(bearer).sendEmail(mail('one@example.test')));
    expect([limited.code, reasonOf(limited)]).toEqual([Code.ResourceExhausted, 'rate_limited']);
    expect(limited.metadata.get('ratelimit')).toMatch(/"recipient";r=0/);
  });
});

describe('the calls', () => {
  test.each([
    ['gRPC-web', (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' })],
    ['Connect', (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: '1.1' })],
  ])('are there for %s on the HTTP port', async (_, transportOf) => {
    const { job } = await createClient(UserService, transportOf(rig.gateway.url)).sendEmail(mail());
    expect(job?.state).toBe(JobState.ACCEPTED);
  });

  test('are there for curl: JSON in, JSON out', async () => {
    const post = (body: object) =>
      fetch(`${rig.gateway.url}/sluice.v1.UserService/SendEmail`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const answer = await post(mail());
    expect([answer.status, await answer.json()]).toMatchObject([200, { job: { state: 'JOB_STATE_ACCEPTED' } }]);
    const refused = await post({ email: { to: 'nobody' } });
    expect([refused.status, await refused.json()]).toMatchObject([400, { code: 'invalid_argument' }]);
  });

  test('go on with the trace of the caller and say which it is', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    let said: string | null = null;
    const users = createClient(UserService, grpcOf(rig.gateway, { traceparent }));
    const { job } = await users.sendEmail(mail(), { onHeader: (headers) => (said = headers.get('x-trace-id')) });
    expect([job?.traceId, said]).toEqual([traceparent.slice(3, 35), traceparent.slice(3, 35)]);
  });
});

describe('reflection', () => {
  async function ask(request: object) {
    const reflect = createClient(ServerReflection, grpc());
    async function* one() {
      yield request;
    }
    for await (const answer of reflect.serverReflectionInfo(one())) return answer.messageResponse;
    return expect.fail('no answer');
  }

  test('lists what is served', async () => {
    const answer = await ask({ messageRequest: { case: 'listServices', value: '' } });
    expect(answer.case === 'listServicesResponse' && answer.value.service.map(({ name }) => name)).toEqual([
      'sluice.v1.UserService',
      'sluice.v1.JobService',
      'sluice.v1.EventService',
      'grpc.reflection.v1.ServerReflection',
    ]);
  });

  test.each(['sluice.v1.UserService', 'sluice.v1.UserService.SendEmail', 'sluice.v1.Job', 'sluice.v1.Job.id'])(
    'describes %s well enough to call it with nothing else at hand',
    async (symbol) => {
      const answer = await ask({ messageRequest: { case: 'fileContainingSymbol', value: symbol } });
      if (answer.case !== 'fileDescriptorResponse') return expect.fail(JSON.stringify(answer));
      const files = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: files.reverse() }));
      expect(registry.get(symbol.split('.').slice(0, 3).join('.'))).toBeDefined();
      return undefined;
    },
  );

  test.each([
    { case: 'fileByFilename', value: 'sluice/v1/jobs.proto' },
    { case: 'fileByFilename', value: 'google/protobuf/timestamp.proto' },
    { case: 'fileContainingSymbol', value: 'google.rpc.ErrorInfo' },
  ])('gives $value', async (messageRequest) => {
    expect((await ask({ messageRequest })).case).toBe('fileDescriptorResponse');
  });

  test.each([
    { case: 'fileByFilename', value: 'etc/passwd' },
    { case: 'fileContainingSymbol', value: 'sluice.v1.Nothing' },
    { case: 'fileContainingSymbol', value: 'sluice.v1.UserService.Nothing' },
  ])('knows no $value', async (messageRequest) => {
    expect(await ask({ messageRequest })).toMatchObject({ case: 'errorResponse', value: { errorCode: Code.NotFound } });
  });
});
