import { createHash } from 'node:crypto';
import { jobLog } from '@sluice/jobs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';
import { defaultWebhooks } from '../src/webhooks/webhooks.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  // A width of 13 stands for a picture that turns out to be broken.
  const failures: Record<number, 'corrupt_image' | 'unsupported_image'> = {
    13: 'corrupt_image',
    14: 'unsupported_image',
  };
  await rig.workers({ convert: async ({ options }) => failures[options?.maxWidth ?? 0] });
});
afterAll(() => rig?.stop());

const job = async (id: string): Promise<JobView> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body;
const ended = (id: string) =>
  eventually(
    () => job(id),
    (seen) => ['succeeded', 'failed', 'cancelled'].includes(seen.state),
  );
const uploads = async (): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of rig.store.list('uploads/')) keys.push(key);
  return keys;
};

describe('an image', () => {
  test('that is small becomes a PDF without touching the store on its way in', async () => {
    const accepted = await rig.call<JobView>('/v1/images', { body: png(), headers: { 'content-type': 'image/png' } });
    expect(accepted.status).toBe(202);
    expect(accepted.headers.get('location')).toBe(`/v1/jobs/${accepted.body.id}`);
    expect(accepted.body).toMatchObject({ kind: 'image', state: 'accepted', priority: 'normal' });
    expect(await ended(accepted.body.id)).toMatchObject({ state: 'succeeded', attempt: 1, result: { pages: 1 } });
    expect(await uploads()).toEqual([]);
  });

  test('that is large streams into the store and is deleted once converted', async () => {
    const accepted = await rig.call<JobView>('/v1/images', { body: png(8, 6, 900_000) });
    expect(accepted.status).toBe(202);
    expect(await ended(accepted.body.id)).toMatchObject({ state: 'succeeded' });
    await eventually(uploads, (keys) => keys.length === 0);
  });

  test('gives its PDF by a link that is short-lived and needs no key', async () => {
    const { body } = await rig.call<JobView>('/v1/images?priority=express&page_size=a4', { body: png() });
    expect(body.priority).toBe('express');
    await ended(body.id);
    const redirect = await rig.call(`/v1/jobs/${body.id}/pdf`);
    expect(redirect.status).toBe(302);
    const pdf = await fetch(redirect.headers.get('location')!);
    expect(pdf.headers.get('content-disposition')).toContain(`${body.id}.pdf`);
    expect(await pdf.text()).toContain('%PDF-1.7');
    const named = await rig.call(`/v1/jobs/${body.id}/pdf?file_name=R%C3%A9sum%C3%A9`);
    const saved = await fetch(named.headers.get('location')!);
    expect(saved.headers.get('content-disposition')).toContain(`filename*=UTF-8''R%C3%A9sum%C3%A9.pdf`);
    expect(await rig.call(`/v1/jobs/${body.id}/pdf?fileName=`)).toMatchObject({ status: 400 });
  });

  test('comes with others in one form, options and all', async () => {
    const form = new FormData();
    form.append('file', new Blob([png()]), 'a.png');
    form.append('quality', 'high');
    form.append('file', new Blob([png(9, 9, 300_000)]), 'b.png');
    form.append('max_width', '640');
    const { status, body } = await rig.call<JobView>('/v1/images', { body: form });
    expect(status).toBe(202);
    expect(await ended(body.id)).toMatchObject({ state: 'succeeded', result: { pages: 2 } });
    await eventually(uploads, (keys) => keys.length === 0);
  });

  test('that is none is refused by its bytes, under any content type, and nothing is stored', async () => {
    const refused = await rig.call('/v1/images', {
      body: 'Dear Sir or Madam, '.repeat(40_000),
      headers: { 'content-type': 'image/png' },
    });
    expect(refused.status).toBe(415);
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    expect(refused.body).toMatchObject({ code: 'unsupported_media_type', status: 415, instance: '/v1/images' });
    expect(refused.body).toMatchObject({ detail: expect.stringMatching(/The file is text: .*PNG, JPEG/) as string });
    expect(await uploads()).toEqual([]);
  });

  test('with too many bytes is refused while it arrives, and what was stored is removed', async () => {
    const small = await rig.replica({
      settings: { limits: { maxBytes: 600_000, maxPixels: 1e8, maxFiles: 3, inlineBytes: 1_000 } },
    });
    let left = 40;
    const endless = new ReadableStream<Uint8Array>({
      start: (out) => out.enqueue(png(8, 6, 200_000).subarray(0, 190_000)),
      pull: (out) => ((left -= 1) > 0 ? out.enqueue(new Uint8Array(50_000)) : out.close()),
    });
    const refused = await rig.call(`${small.url}/v1/images`, { body: endless }).catch(() => undefined);
    // The answer comes before the body ends; a client that cannot read it meanwhile sees the connection close.
    if (refused !== undefined) expect(refused).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
    await eventually(uploads, (keys) => keys.length === 0);
    const declared = await rig.call(`${small.url}/v1/images`, { body: png(8, 6, 800_000) });
    expect(declared).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
  });

  test('with too many pixels is refused from its header', async () => {
    const refused = await rig.call('/v1/images', { body: png(60_000, 60_000) });
    expect(refused).toMatchObject({ status: 422, body: { code: 'image_too_large' } });
  });

  test.each([
    ['/v1/images?quality=best', '/query/quality'],
    ['/v1/images?pageSize=a4&marginMm=26', '/query/marginMm'],
    ['/v1/images?pageSize=a4&picturesPerPage=5', '/query/picturesPerPage'],
    ['/v1/images?fit=cover', '/fit'],
    ['/v1/images?picturesPerPage=4', '/picturesPerPage'],
    ['/v1/images?pageOrientation=landscape', '/pageOrientation'],
    ['/v1/images?title=a%07b', '/title'],
    ['/v1/images?maxWidth=0', '/query/maxWidth'],
    ['/v1/images?colour=red', '/query/colour'],
    ['/v1/images?notify=a@b.c,d@e.f', '/notify'],
    ['/v1/images?callbackUrl=javascript:alert(1)', '/callbackUrl'],
  ])('with malformed options is refused: %s', async (path, pointer) => {
    const refused = await rig.call(path, { body: png() });
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });

  test('comes by URL, or several do, and is left to the image service to fetch', async () => {
    const one = await rig.call<JobView>('/v1/images', { json: { url: 'https://example.com/a.png', maxWidth: 640 } });
    expect(one.status).toBe(202);
    expect(await ended(one.body.id)).toMatchObject({ state: 'succeeded', result: { pages: 1 } });
    const urls = ['https://example.com/a.png', 'https://example.com/b.png?page=2'];
    const two = await rig.call<JobView>('/v1/images?quality=low', { json: { urls } });
    expect(await ended(two.body.id)).toMatchObject({ state: 'succeeded', result: { pages: 2 } });
    expect(await uploads()).toEqual([]);
  });

  test.each([
    [{}, '/url'],
    [{ url: 'https://example.com/a', urls: ['https://example.com/b'] }, '/url'],
    [{ urls: [] }, '/urls'],
    [{ url: 'no URL' }, '/url'],
    [{ url: 'file:///etc/passwd' }, '/url'],
    [{ urls: ['https://example.com/a', 'https://user:secret@example.com/b'] }, '/urls/1'],
    [{ url: 'https://example.com/a', colour: 'red' }, '/colour'],
    [{ url: 7 }, '/url'],
  ])('by URL, %j: refused', async (json, pointer) => {
    expect(await rig.call('/v1/images', { json })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ pointer }] },
    });
  });

  test('by URL, that is no JSON or too much of it: refused', async () => {
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    expect(await rig.call('/v1/images', { body: '{"url":', headers })).toMatchObject({ status: 400 });
    const urls = Array.from({ length: 40_000 }, () => 'https://example.com/');
    expect(await rig.call('/v1/images', { json: { urls } })).toMatchObject({ status: 413 });
  });

  test('by URL outside dev must be https and public', async () => {
    const strict = await rig.replica({ settings: { webhooks: { ...defaultWebhooks, targets: 'public' } } });
    for (const url of ['http://example.com/a.png', 'https://127.0.0.1/a.png', 'https://[::1]/a.png']) {
      const refused = await fetch(`${strict.url}/v1/images`, {
        method: 'POST',
        body: JSON.stringify({ url }),
        headers: { 'content-type': 'application/json' },
      });
      expect(refused.status).toBe(400);
    }
  });

  test('that is corrupt fails once, with a reason', async () => {
    const { body } = await rig.call<JobView>('/v1/images?maxWidth=13', { body: png() });
    expect(await ended(body.id)).toMatchObject({ state: 'failed', attempt: 1, error: { code: 'corrupt_image' } });
    expect(await rig.call(`/v1/jobs/${body.id}/pdf`)).toMatchObject({ status: 422, body: { code: 'corrupt_image' } });
  });

  test('that is sound and cannot be converted fails once, and is not called corrupt', async () => {
    const { body } = await rig.call<JobView>('/v1/images?maxWidth=14', { body: png() });
    expect(await ended(body.id)).toMatchObject({ state: 'failed', attempt: 1, error: { code: 'unsupported_image' } });
    expect(await rig.call(`/v1/jobs/${body.id}/pdf`)).toMatchObject({
      status: 422,
      body: { code: 'unsupported_image' },
    });
  });
});

describe('a mail', () => {
  test('is sent once and says by whom', async () => {
    const { status, body } = await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'notification', variables: { message: 'Hi' } },
    });
    expect(status).toBe(202);
    expect(await ended(body.id)).toMatchObject({
      kind: 'email',
      state: 'succeeded',
      result: { provider: 'primary', messageId: `<${body.id}@sluice.test>` },
    });
  });

  test('welcomes a new user', async () => {
    const { body } = await rig.call<JobView>('/v1/users', { json: { name: 'Ada', email: 'ada@example.com' } });
    expect(await ended(body.id)).toMatchObject({ state: 'succeeded' });
  });

  test.each([
    [{ template: 'welcome', variables: { name: 'Ada' } }, '/to'],
    [{ to: 'a@x.com,b@y.com', template: 'welcome', variables: { name: 'Ada' } }, '/to'],
    [{ to: 'ada@example.com', template: 'nope' }, '/template'],
    [{ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, cc: 'x@y.z' }, '/cc'],
    [{ to: 'ada@example.com', template: 'welcome', variables: [1] }, '/variables'],
    [
      { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' }, callbackUrl: 'http://user:pw@x.y' },
      '/callbackUrl',
    ],
  ])('%j is refused with a pointer to what is wrong', async (json, pointer) => {
    const refused = await rig.call('/v1/emails', { json });
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });

  test.each([
    ['welcome', {}, ['/variables/name is missing']],
    ['welcome', { name: ' \u202e' }, ['/variables/name must not be empty']],
    [
      'notification',
      { title: 'Hi', actionUrl: 'ftp://a.example' },
      ['/variables/message is missing', '/variables/actionUrl must be an http(s) URL'],
    ],
    ['image-ready', { facts: 'lies' }, ['/variables/link is missing', '/variables/jobId is missing']],
  ])(
    'of %s with %j is refused before there is a job, saying which variable is wrong',
    async (template, variables, wrong) => {
      const to = `refused-${template}@example.com`;
      const { status, body } = await rig.call<{
        code: string;
        detail: string;
        errors: { pointer: string; detail: string }[];
      }>('/v1/emails', { json: { to, template, variables } });
      expect(status).toBe(400);
      expect(body.code).toBe('invalid_request');
      const said = body.errors.map(({ pointer, detail }) => `${pointer} ${detail}`);
      expect(said.length).toBe(wrong.length);
      for (const [index, words] of wrong.entries()) expect(said[index]).toContain(words);
      for (const words of said) expect(words).toContain(`(template ${template})`);
      expect(body.detail).toBe(said.join('; '));
      expect((await rig.call<{ jobs: unknown[] }>(`/v1/jobs?recipient=${to}`)).body.jobs).toEqual([]);
    },
  );

  test('that welcomes a user whose name cannot be shown is refused with a pointer to the name', async () => {
    const refused = await rig.call('/v1/users', { json: { name: '\u202e', email: 'ada@example.com' } });
    expect(refused).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/name', detail: 'must not be empty' }] },
    });
  });

  test('takes a reply address and headers of the caller, by an allow list', async () => {
    const mail = { to: 'ada@example.test', template: 'notification', variables: { message: 'hi' } };
    const headers = { 'X-Campaign': 'spring:7', References: '<a@example.com>' };
    const accepted = await rig.call<JobView>('/v1/emails', {
      json: { ...mail, replyTo: 'support@example.test', headers },
    });
    expect(accepted.status).toBe(202);
    const record = await jobLog(rig.bus).read(accepted.body.id);
    expect(record?.job.request?.work.value).toMatchObject({ replyTo: 'support@example.test', headers });
    for (const [wrong, pointer] of [
      [{ replyTo: 'a@example.test, b@example.test' }, '/replyTo'],
      [{ headers: { Bcc: 'evil@example.test' } }, '/headers/Bcc'],
      [{ headers: { 'X-Campaign': 'b\r\nBcc: evil@example.test' } }, '/headers/X-Campaign'],
    ] as const) {
      const refused = await rig.call('/v1/emails', { json: { ...mail, ...wrong } });
      expect(refused).toMatchObject({ status: 400, body: { errors: [{ pointer }] } });
    }
  });

  test('takes field names as protobuf JSON does', async () => {
    const { status } = await rig.call('/v1/emails', {
      json: {
        to: 'ada@example.com',
        template: 'welcome',
        variables: { name: 'Ada' },
        callback_url: 'https://example.com/hook',
      },
    });
    expect(status).toBe(202);
  });
});

describe('a job', () => {
  test('tells its timeline, from acceptance to end', async () => {
    const { body } = await rig.call<JobView>('/v1/images', { body: png() });
    await ended(body.id);
    const { body: timeline } = await eventually(
      () => rig.call<{ events: { event: string; app: string; attempt?: number }[] }>(`/v1/jobs/${body.id}/events`),
      (answer) => answer.body.events.some((entry) => entry.app === 'image' && entry.event === 'acked'),
    );
    const seen = timeline.events.map((entry) => `${entry.app}:${entry.event}`);
    expect(seen[0]).toBe('gateway:accepted');
    expect(seen).toEqual(
      expect.arrayContaining(['image:received', 'image:attempt', 'image:effect_done', 'gateway:succeeded']),
    );
  });

  test('streams its timeline live and ends after the end', async () => {
    const { body } = await rig.call<JobView>('/v1/images', { body: png() });
    const stream = await fetch(`${rig.gateway.url}/v1/jobs/${body.id}/stream`);
    expect(stream.headers.get('content-type')).toBe('text/event-stream');
    const text = await stream.text();
    const states = [...text.matchAll(/event: state\ndata: (.*)/g)].map(
      ([, data]) => (JSON.parse(data!) as { state: string }).state,
    );
    expect(states).toEqual(['accepted', 'succeeded']);

    const ids = [...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id!);
    const resumed = await fetch(`${rig.gateway.url}/v1/jobs/${body.id}/stream`, {
      headers: { 'last-event-id': ids[0]! },
    });
    const rest = await resumed.text();
    expect(rest).not.toContain('"state":"accepted"');
    expect(rest).toContain('"state":"succeeded"');
  });

  test('is answered when it has ended, to a client that prefers to wait', async () => {
    const { status, body, headers } = await rig.call<JobView>('/v1/images', {
      body: png(),
      headers: { prefer: 'wait=10' },
    });
    expect({ status, state: body.state }).toEqual({ status: 200, state: 'succeeded' });
    expect(headers.get('preference-applied')).toBe('wait=10');
  });

  test('that was never made is not found', async () => {
    for (const id of ['job_aaaaaaaaaaaaaaaaaaaaaaaaaa', 'nonsense', '%2e%2e', 'a.b']) {
      expect(await rig.call(`/v1/jobs/${id}`)).toMatchObject({ status: 404, body: { code: 'not_found' } });
    }
  });

  test('mails when it is done, to who asked for it', async () => {
    const { body } = await rig.call<JobView>('/v1/images?notify=ada@example.com', { body: png() });
    await ended(body.id);
    const mails: string[] = [];
    await eventually(
      async () => {
        for await (const event of rig.bus.history((await import('@sluice/contracts')).channels.job, { jobId: '*' })) {
          const work = event.data.job?.request?.work;
          if (work?.case === 'email' && work.value.attachmentKey === `pdf/${body.id}.pdf`)
            mails.push(event.data.job!.id);
        }
        return new Set(mails).size;
      },
      (count) => count === 1,
    );
  });
});

describe('a request with an Idempotency-Key', () => {
  test('meets its own job when it is repeated', async () => {
    const picture = png(8, 6, 400_000);
    const send = (body: Buffer) =>
      rig.call<JobView>('/v1/images', { body, headers: { 'idempotency-key': '"picture-1"' } });
    const first = await send(picture);
    await ended(first.body.id);
    const again = await send(picture);
    expect(again.status).toBe(202);
    expect(again.body.id).toBe(first.body.id);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await uploads()).toEqual([]);
    expect(await send(png(9, 9))).toMatchObject({
      status: 422,
      body: { code: 'idempotency_key_reused', jobId: first.body.id },
    });
  });

  test('makes one job however many arrive at once, on any replica', async () => {
    const other = await rig.replica();
    const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        rig.call<JobView>(`${i % 2 ? other.url : rig.gateway.url}/v1/emails`, {
          json,
          headers: { 'idempotency-key': 'burst' },
        }),
      ),
    );
    const taken = answers.filter((answer) => answer.status === 202);
    expect(taken.length).toBeGreaterThan(0);
    expect(new Set(taken.map((answer) => answer.body.id)).size).toBe(1);
    for (const answer of answers) expect([202, 409]).toContain(answer.status);
  });

  test('whose first is not answered yet is told so', async () => {
    let finish!: () => void;
    const slow = new ReadableStream<Uint8Array>({
      start(out) {
        out.enqueue(png());
        finish = () => out.close();
      },
    });
    const begun = Promise.withResolvers<void>();
    rig.gateway.app.server.once('request', () => begun.resolve());
    const first = rig.call<JobView>('/v1/images', { body: slow, headers: { 'idempotency-key': 'slow' } });
    await begun.promise;
    const second = await eventually(
      () => rig.call('/v1/images', { body: png(5, 5), headers: { 'idempotency-key': 'slow' } }),
      (answer) => answer.status !== 202,
    );
    expect(second.body).toMatchObject({ code: 'request_in_progress' });
    expect(second.headers.get('retry-after')).toBe('1');
    finish();
    await first;
  });
});

describe('every answer', () => {
  test('names its trace, continuing the caller’s', async () => {
    const traceId = createHash('md5').update('t').digest('hex');
    const { headers } = await rig.call('/healthz', { headers: { traceparent: `00-${traceId}-${'1'.repeat(16)}-01` } });
    expect(headers.get('x-trace-id')).toBe(traceId);
    expect(headers.get('traceresponse')).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-0[01]$`));
  });

  test('to something that is no request is a problem too', async () => {
    expect(await rig.call('/nowhere')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    const broken = { body: '{', headers: { 'content-type': 'application/json' } };
    expect(await rig.call('/nowhere', broken)).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(
      await rig.call('/v1/emails', { body: '{"to":', headers: { 'content-type': 'application/json' } }),
    ).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
    expect(await rig.call('/v1/emails', { body: 'x=1', headers: { 'content-type': 'text/plain' } })).toMatchObject({
      status: 415,
      body: { code: 'unsupported_media_type' },
    });
    expect(await rig.call('/v1/emails', { json: { to: 'x'.repeat(300_000) } })).toMatchObject({ status: 413 });
  });
});
