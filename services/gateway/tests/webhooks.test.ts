import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '@sluice/telemetry';
import { pino } from 'pino';
import { request } from 'undici';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { createWebhookAgent, isPublicAddress, refusalOf, TargetRefused } from '../src/webhooks/target.ts';
import { eventually, startRig, type Rig } from './rig.ts';

/** A call as the receiver saw it. */
interface Received {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}
type Answer = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

/** A receiver on a real port: every path is one webhook, answered by what the test set for it. */
async function startReceiver(host = '127.0.0.1', port = 0) {
  const received: Received[] = [];
  const answers = new Map<string, Answer>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = request.url ?? '';
      received.push({ path, headers: request.headers as never, body: Buffer.concat(chunks).toString() });
      const nth = received.filter((call) => call.path === path).length;
      (answers.get(path) ?? ((_, ok) => ok.end()))(request, response, nth);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received,
    on(path: string, answer: Answer) {
      answers.set(path, answer);
    },
    calls: (path: string) => received.filter((call) => call.path === path),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

const retry = { maxAttempts: 3, baseMs: 10, maxMs: 20 };
/** Long enough for a receiver that shares a busy process with its caller. */
const timeoutMs = 1_500;
const lines: string[] = [];
const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }) as unknown as Logger;
let rig: Rig;
let receiver: Awaited<ReturnType<typeof startReceiver>>;
beforeAll(async () => {
  receiver = await startReceiver();
  rig = await startRig({ log, settings: { webhooks: { targets: 'any', timeoutMs, retry } } });
  await rig.workers();
});
afterAll(async () => {
  await rig?.stop();
  await receiver?.close();
});

const url = (path: string) => `http://127.0.0.1:${receiver.port}${path}`;
const mail = (path: string) =>
  rig.call<JobView>('/v1/emails', {
    json: { to: 'ada@example.test', template: 'welcome', callbackUrl: path.startsWith('/') ? url(path) : path },
  });
const verifiers = async () =>
  (await rig.call<{ secrets: { secret: string; expiresAt?: string }[] }>('/v1/webhooks/secrets')).body.secrets;
const givenUp = async (jobId: string) => {
  const { body } = await rig.call<{ deadLetters: { jobId?: string; stream?: string; detail?: string }[] }>(
    '/v1/dead-letters?limit=100',
  );
  return body.deadLetters.find((letter) => letter.jobId === jobId);
};

describe('the webhook of a job', () => {
  test('is the job as the API shows it, signed so that any Standard Webhooks library can tell', async () => {
    const { body: job } = await mail('/signed');
    const [call] = await eventually(
      async () => receiver.calls('/signed'),
      (calls) => calls.length > 0,
    );
    const { body: shown } = await rig.call<JobView>(`/v1/jobs/${job.id}`);
    const [{ secret }] = (await verifiers()) as [{ secret: string }];
    expect(new Webhook(secret).verify(call!.body, call!.headers)).toEqual(shown);
    expect(shown.state).toBe('succeeded');
    expect(call!.headers).toMatchObject({ 'webhook-id': `${job.id}.webhook`, 'content-type': 'application/json' });
    for (const tampered of [
      { ...call!.headers, 'webhook-id': 'other' },
      { ...call!.headers, 'webhook-timestamp': String(Number(call!.headers['webhook-timestamp']) - 1) },
    ]) {
      expect(() => new Webhook(secret).verify(call!.body, tampered)).toThrow();
    }
    expect(() => new Webhook(secret).verify(`${call!.body} `, call!.headers)).toThrow();
  });

  test('is not there for a job without a URL', async () => {
    const before = receiver.received.length;
    const json = { to: 'ada@example.test', template: 'welcome' };
    const done = await rig.call<JobView>('/v1/emails', { json, headers: { prefer: 'wait=10' } });
    expect(done.body.state).toBe('succeeded');
    // Behind it comes one that has a URL: what had been on its way to nowhere would have been called by then.
    await mail('/marker');
    await eventually(
      async () => receiver.calls('/marker'),
      (calls) => calls.length > 0,
    );
    expect(receiver.received.slice(before).map(({ path }) => path)).toEqual(['/marker']);
  });

  test('is repeated until it is taken, each time under the same id', async () => {
    receiver.on('/later', (_, response, nth) => response.writeHead(nth < 3 ? 500 : 204).end());
    await mail('/later');
    const calls = await eventually(
      async () => receiver.calls('/later'),
      (seen) => seen.length === 3,
    );
    expect(new Set(calls.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });

  test('is signed with both secrets while one replaces the other', async () => {
    const [old] = await verifiers();
    const rotated = await rig.call<{ secrets: { secret: string; expiresAt?: string }[] }>(
      '/v1/webhooks/secrets:rotate',
      { method: 'POST' },
    );
    expect(rotated.body.secrets).toMatchObject([{}, { secret: old!.secret }]);
    expect(rotated.body.secrets[1]?.expiresAt).toBeDefined();
    await mail('/rotated');
    const [call] = await eventually(
      async () => receiver.calls('/rotated'),
      (calls) => calls.length > 0,
    );
    for (const { secret } of rotated.body.secrets) {
      expect(new Webhook(secret).verify(call!.body, call!.headers)).toMatchObject({ state: 'succeeded' });
    }
  });
});

describe('a receiver that', () => {
  test.each<[string, Answer]>([
    ['fails', (_, response) => response.writeHead(500).end()],
    ['never answers', () => undefined],
    ['drips its headers', (request) => drip(request)],
    ['redirects', (_, response) => response.writeHead(302, { location: url('/elsewhere') }).end()],
    ['hangs up', (request) => request.socket.destroy()],
  ])('%s is called as often as the policy says; then the call is a dead letter', async (name, answer) => {
    const path = `/${name.replaceAll(' ', '-')}`;
    receiver.on(path, answer);
    const { body: job } = await mail(path);
    const letter = await eventually(
      () => givenUp(job.id),
      (found) => found !== undefined,
    );
    expect(letter?.stream).toBe('WEBHOOKS');
    expect([receiver.calls(path).length, receiver.calls('/elsewhere').length]).toEqual([retry.maxAttempts, 0]);
    // The job itself ended well, and stays so.
    expect((await rig.call<JobView>(`/v1/jobs/${job.id}`)).body.state).toBe('succeeded');
  });

  test('says more than anybody reads is hung up on, and counts by its status', async () => {
    let written = 0;
    const closed = Promise.withResolvers<void>();
    receiver.on('/endless', (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        if (response.destroyed) return closed.resolve();
        written += 64 * 1024;
        response.write(Buffer.alloc(64 * 1024), () => setImmediate(more));
      };
      more();
    });
    await mail('/endless');
    await closed.promise;
    await mail('/after-endless');
    await eventually(
      async () => receiver.calls('/after-endless'),
      (calls) => calls.length > 0,
    );
    expect(receiver.calls('/endless')).toHaveLength(1);
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });

  test('is gone for good is not called again', async () => {
    receiver.on('/gone', (_, response) => response.writeHead(410).end());
    const { body: job } = await mail('/gone');
    await eventually(
      async () => receiver.calls('/gone'),
      (calls) => calls.length > 0,
    );
    await mail('/after-gone');
    await eventually(
      async () => receiver.calls('/after-gone'),
      (calls) => calls.length > 0,
    );
    expect([receiver.calls('/gone').length, await givenUp(job.id)]).toEqual([1, undefined]);
  });
});

const drip = ({ socket }: IncomingMessage): void => {
  const timer = setInterval(() => socket.write('X'), 20);
  socket.write('HTTP/1.1 200 OK\r\nX-Slow: ');
  socket.once('close', () => clearInterval(timer));
};

describe('the log', () => {
  test('tells which host was called for which job, and neither token, address nor secret', async () => {
    receiver.on('/hook/s3cr3t-token?key=abc', (_, response, nth) => response.writeHead(nth === 1 ? 500 : 200).end());
    lines.length = 0;
    const { body: job } = await mail('/hook/s3cr3t-token?key=abc');
    await eventually(
      async () => lines.filter((line) => line.includes('webhook called') && line.includes(job.id)),
      (told) => told.length === 2,
    );
    const told = lines.join('\n');
    expect(told).toContain(`127.0.0.1:${receiver.port}`);
    const [{ secret }] = (await verifiers()) as [{ secret: string }];
    for (const canary of ['s3cr3t-token', 'key=abc', 'ada@example.test', secret]) expect(told).not.toContain(canary);
  });
});

describe('where webhooks may go', () => {
  // What URLs can say for an address that is not public. `new URL` writes most of them out as one of a few.
  const hosts = [
    '127.0.0.1',
    '127.1',
    '127.0.1',
    '0177.0.0.1',
    '0x7f000001',
    '0x7f.1',
    '2130706433',
    '127.0.0.1.',
    '0',
    '0.0.0.0',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '198.18.0.1',
    '192.0.0.192',
    '192.0.2.1',
    '224.0.0.1',
    '255.255.255.255',
    '[::]',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::1]',
    '[2002:7f00:1::]',
    '[2001::1]',
    '[2001:db8::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[fe80::1]',
    '[fec0::1]',
    '[ff02::1]',
    '[100::1]',
    '１２７.０.０.１',
    '①②⑦.⓪.⓪.①',
  ];
  test.each(hosts)('not to %s, in whatever way it is written', (host) => {
    expect(refusalOf(new URL(`https://${host}/`), 'public')).toMatch(/not public/);
  });

  test.each([
    ['http://example.com/', /https/],
    ['https://example.com:22/', /port/],
    ['https://example.com:25/', /port/],
  ])('not to %s', (text, why) => {
    expect(refusalOf(new URL(text), 'public')).toMatch(why);
  });

  test.each(['https://example.com/', 'https://example.com:8443/', 'https://93.184.215.14/', 'https://[2606:2800::1]/'])(
    'to %s',
    (text) => {
      expect(refusalOf(new URL(text), 'public')).toBeUndefined();
    },
  );

  test('is said when the job is asked for, as far as the URL tells', async () => {
    const strict = await rig.replica({ settings: { webhooks: { targets: 'public', timeoutMs, retry } } });
    for (const callbackUrl of [url('/'), 'https://127.0.0.1/', 'https://[::ffff:10.0.0.1]/']) {
      const json = { to: 'ada@example.test', template: 'welcome', callbackUrl };
      const answer = await rig.call(`${strict.url}/v1/emails`, { json });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/callbackUrl' }] } });
    }
  });
});

describe('the connection of a webhook', () => {
  const agentTo = (addresses: () => string[], mayReach = isPublicAddress) =>
    createWebhookAgent({
      targets: 'public',
      mayReach,
      connectTimeoutMs: 10_000,
      resolve: async () => addresses().map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    });
  const post = (dispatcher: ReturnType<typeof agentTo>, target: string) =>
    request(target, { method: 'POST', dispatcher }).then(({ statusCode }) => statusCode);

  test.each([
    ['a private address', ['127.0.0.1']],
    ['a public and a private one', ['93.184.215.14', '127.0.0.1']],
    ['an IPv6 address that is this machine', ['::1']],
    ['an IPv4 address in an IPv6 one', ['::ffff:127.0.0.1']],
    ['nothing', []],
  ])('is not made to a name that leads to %s', async (_, addresses) => {
    const agent = agentTo(() => addresses);
    const before = receiver.received.length;
    await expect(post(agent, `http://receiver.example:${receiver.port}/`)).rejects.toThrow(TargetRefused);
    expect(receiver.received.length).toBe(before);
    await agent.close();
  });

  test('is not made to an address itself, in spite of there being nothing to look up', async () => {
    const agent = agentTo(() => ['93.184.215.14']);
    await expect(post(agent, url('/'))).rejects.toThrow(TargetRefused);
    await expect(post(agent, `http://[::1]:${receiver.port}/`)).rejects.toThrow(TargetRefused);
    await agent.close();
  });

  test('is judged each time: a name that leads elsewhere the second time (rebinding) is refused then', async () => {
    // 127.0.0.2 stands for a public address; 127.0.0.1 for what must not be reached.
    const open = await startReceiver('127.0.0.2', receiver.port);
    open.on('/', (_, response) => response.writeHead(200, { connection: 'close' }).end());
    let asked = 0;
    const agent = agentTo(
      () => (++asked === 1 ? ['127.0.0.2'] : ['127.0.0.1']),
      (address) => address === '127.0.0.2',
    );
    const before = receiver.received.length;
    const target = `http://rebinding.example:${receiver.port}/`;
    expect(await post(agent, target)).toBe(200);
    await expect(post(agent, target)).rejects.toThrow(TargetRefused);
    expect([open.received.length, receiver.received.length, asked]).toEqual([1, before, 2]);
    await agent.close();
    await open.close();
  });
});
