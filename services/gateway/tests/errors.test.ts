import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { png } from './pictures.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ settings: { links: [{ name: 'Mail', url: 'http://localhost:8025' }] } });
});
afterAll(() => rig?.stop());

const detailOf = async (path: string, init: RequestInit) => {
  const answer = await fetch(`${rig.gateway.url}${path}`, init);
  const body = (await answer.json()) as { detail: string; code: string };
  return { status: answer.status, code: body.code, detail: body.detail, allow: answer.headers.get('allow') };
};

describe('an error says what was found and what to do', () => {
  test.each([
    ['an empty body', '', /empty: send the bytes of an image/],
    ['a forgotten @', 'samples/photo.jpg', /text: .*@FILE, with the @/],
    ['a PDF', '%PDF-1.7 and so on, and on', /PDF already/],
    ['a HEIC image', '\0\0\0\x18ftypheic\0\0\0\0mif1heic', /HEIC.*convert it to JPEG/],
  ])('%s', async (_, body, expected) => {
    const answer = await detailOf('/v1/images', { method: 'POST', body: Buffer.from(body, 'latin1') });
    expect(answer).toMatchObject({ status: 415, detail: expect.stringMatching(expected) as string });
  });

  test('too many bytes, in MiB', async () => {
    const small = await rig.replica({
      settings: { limits: { maxBytes: 2 ** 20, maxPixels: 1e8, maxFiles: 20, inlineBytes: 1_000 } },
    });
    const { status, body } = await rig.call(`${small.url}/v1/images`, { body: png(8, 6, 1_200_000) });
    expect([status, body['detail']]).toEqual([413, 'A request may carry 1 MiB of images.']);
    const large = JSON.stringify({ to: 'ada@example.com', template: 'x'.repeat(300_000) });
    const mail = await rig.call('/v1/emails', { body: large, headers: { 'content-type': 'application/json' } });
    expect([mail.status, mail.body['detail']]).toEqual([413, 'The body is too large. Here it may be 0.25 MiB.']);
  });

  test.each([
    ['no content type', undefined, /no content type: send JSON, with content-type: application\/json/],
    ['an unknown one', 'text/csv', /"text\/csv": send JSON, with content-type: application\/json/],
  ])('%s', async (_, type, expected) => {
    const body = Buffer.from('{"to":"ada@example.com","template":"welcome","variables":{"name":"Ada"}}');
    const headers = type === undefined ? {} : { 'content-type': type };
    const answer = await detailOf('/v1/emails', { method: 'POST', body, headers });
    expect(answer).toMatchObject({ status: 415, detail: expect.stringMatching(expected) as string });
  });

  test('a Content-Encoding', async () => {
    const headers = { 'content-type': 'application/json', 'content-encoding': 'zstd' };
    expect(await detailOf('/v1/emails', { method: 'POST', body: '{}', headers })).toMatchObject({
      status: 415,
      detail: expect.stringContaining('"zstd" is not taken') as string,
    });
  });

  test.each([
    ['/v1/emails', 'GET', 'POST'],
    ['/v1/jobs/job_x', 'PUT', 'DELETE, GET, HEAD'],
    ['/v1/pipelines/commands:pause', 'GET', 'POST'],
    ['/v1/images:fromUpload', 'DELETE', 'POST'],
    ['/sluice.v1.UserService/SendEmail', 'GET', 'POST'],
  ])('a method that %s does not take: %s', async (path, method, allow) => {
    expect(await detailOf(path, { method })).toMatchObject({ status: 405, code: 'method_not_allowed', allow });
  });

  test('an address that is none', async () => {
    expect(await detailOf('/v1/nothing', {})).toMatchObject({ status: 404, code: 'not_found', allow: null });
  });

  test('a message that is no protobuf', async () => {
    const answer = await detailOf('/sluice.v1.UserService/SendEmail', {
      method: 'POST',
      body: Buffer.from([255, 255, 255, 255]),
      headers: { 'content-type': 'application/proto' },
    });
    expect([answer.status, answer.code]).toEqual([400, 'invalid_argument']);
  });

  test('a job that was given up, without addresses', async () => {
    const workers = await rig.workers({
      send: async () => {
        throw new Error('connect ECONNREFUSED 10.1.2.3:587 for ada@example.com at smtp://user:secret@mail.internal');
      },
    });
    const { body } = await rig.call<JobView>('/v1/emails', {
      json: { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } },
    });
    const failed = await eventually(
      async () => (await rig.call<JobView>(`/v1/jobs/${body.id}`)).body,
      ({ state }) => state === 'failed',
    );
    expect(failed.error?.detail).toMatch(/The last error: Error: connect ECONNREFUSED \[address\]/);
    expect(failed.error?.detail).not.toMatch(/10\.1|secret|ada@|internal/);
    await workers.stop();
  });
});

describe('an answer in JSON', () => {
  const read = async (agent: string) => {
    const answer = await fetch(`${rig.gateway.url}/healthz`, { headers: { 'user-agent': agent } });
    return answer.text();
  };
  test('is set out in lines for curl and browsers, and compact for programs', async () => {
    expect(await read('curl/8.5.0')).toBe('{\n  "status": "ok"\n}\n');
    expect(await read('Mozilla/5.0')).toBe('{\n  "status": "ok"\n}\n');
    expect(await read('my-service/1.0')).toBe('{"status":"ok"}\n');
  });
  test('that is a problem ends in a newline, too', async () => {
    expect(await (await fetch(`${rig.gateway.url}/v1/nothing`)).text()).toMatch(/\}\n$/);
  });
});

test('the first page links what answers', async () => {
  const get = async (accept: string) => (await fetch(`${rig.gateway.url}/`, { headers: { accept } })).text();
  expect(await get('text/html,*/*')).toMatch(/<a href="\/docs">.*<a href="http:\/\/localhost:8025">Mail</s);
  expect(await get('*/*')).toMatch(/^API, to read and to try: \/docs\n.*Mail: http:\/\/localhost:8025\n$/s);
});

test('a request line that cannot be read is told so', async () => {
  const { port } = new URL(rig.gateway.url);
  const socket = connect(Number(port), '127.0.0.1', () => socket.write('NONSENSE\r\n\r\n'));
  const text = await new Promise<string>((resolve) => {
    let got = '';
    socket.on('data', (piece) => (got += piece.toString()));
    socket.on('close', () => resolve(got));
  });
  expect(text).toContain('HTTP/1.1 400');
});
