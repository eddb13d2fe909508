import { addressesOf, createOutboundAgent, isPublicAddress, refusalOf, TargetRefused } from '@sluice/outbound';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '@sluice/telemetry';
import { pino } from 'pino';
import { request } from 'undici';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { createCallLimiter, defaultCallLimits } from '../src/webhooks/call-limiter.ts';
import { retryAfterMs } from '../src/webhooks/call.ts';
import { defaultWebhooks, putBackMs } from '../src/webhooks/webhooks.ts';
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

const retries = { firstRetryMs: 10, maxRetryMs: 20, giveUpAfterMs: 2_000 };
/** Long enough for a receiver that shares a busy process with its caller. */
const timeoutMs = 1_500;
const lines: string[] = [];
const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }) as unknown as Logger;
let rig: Rig;
let receiver: Awaited<ReturnType<typeof startReceiver>>;
beforeAll(async () => {
  receiver = await startReceiver();
  rig = await startRig({ log, settings: { webhooks: { ...defaultWebhooks, targets: 'any', timeoutMs, ...retries } } });
  await rig.workers();
});
afterAll(async () => {
  await rig?.stop();
  await receiver?.close();
});

const url = (path: string) => `http://127.0.0.1:${receiver.port}${path}`;
const mail = (path: string) =>
  rig.call<JobView>('/v1/emails', {
    json: {
      to: 'ada@example.test',
      template: 'welcome',
      variables: { name: 'Ada' },
      callbackUrl: path.startsWith('/') ? url(path) : path,
    },
  });
const verifiers = async () =>
  (await rig.call<{ secrets: { secret: string; expiresAt?: string }[] }>('/v1/webhooks/secrets')).body.secrets;
const givenUp = async (jobId: string) => {
  const { body } = await rig.call<{ deadLetters: { jobId?: string; stream?: string; detail?: string }[] }>(
    '/v1/dead-letters?limit=100',
  );
  return body.deadLetters.find((letter) => letter.jobId === jobId);
};

describe('a test of a receiver', () => {
  const send = (to: unknown) => rig.call('/v1/webhooks:test', { json: { url: to } });

  test('is one call, signed as every webhook, with a job that never was', async () => {
    receiver.on('/try', (_, response, nth) => response.writeHead(nth === 1 ? 204 : 503).end());
    expect(await send(url('/try'))).toMatchObject({ status: 200, body: { delivered: true, status: 204 } });
    const [call] = receiver.calls('/try');
    const [{ secret }] = (await verifiers()) as [{ secret: string }];
    expect(new Webhook(secret).verify(call!.body, call!.headers)).toMatchObject({
      id: 'job_00000000000000000000000000',
      metadata: { test: 'true' },
    });
    expect(await rig.call('/v1/jobs/job_00000000000000000000000000')).toMatchObject({ status: 404 });
    expect(await send(url('/try'))).toMatchObject({
      body: { delivered: false, status: 503, detail: 'the receiver answered 503' },
    });
    expect(receiver.calls('/try')).toHaveLength(2);
  });

  test('tells of one that does not answer, and of two that do not answer yet', async () => {
    expect(await send('http://127.0.0.1:1025/')).toMatchObject({ status: 200, body: { delivered: false } });
    receiver.on('/slow', () => undefined);
    const slow = [send(url('/slow')), send(url('/slow'))];
    await eventually(
      async () => receiver.calls('/slow'),
      (calls) => calls.length === 2,
    );
    expect(await send(url('/slow'))).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    for (const answer of await Promise.all(slow)) expect(answer.body).toMatchObject({ delivered: false });
  });

  test('goes nowhere a webhook may not go', async () => {
    for (const wrong of ['', 'nowhere', 'ftp://example.com', 'https://a:b@example.com', 7]) {
      expect(await send(wrong)).toMatchObject({ status: 400 });
    }
    // A replica would take webhooks of the other tests.
    const strict = await startRig({ settings: { webhooks: defaultWebhooks } });
    const before = receiver.received.length;
    for (const inside of [url('/inside'), 'https://127.0.0.1/', 'https://localhost/', 'https://169.254.169.254/']) {
      const answer = await strict.call('/v1/webhooks:test', { json: { url: inside } });
      expect(answer).toMatchObject({ status: 200, body: { delivered: false } });
    }
    await strict.stop();
    expect(receiver.received.length).toBe(before);
  });
});

describe('the webhook of a job', () => {
  test('is the job as the API shows it, signed so that any Standard Webhooks library can tell', async () => {
    const { body: job } = await mail('/signed');
    const [call] = await eventually(
      async () => receiver.calls('/signed'),
      (calls) => calls.length > 0,
    );
    const { body: shown } = await eventually(
      () => rig.call<JobView>(`/v1/jobs/${job.id}`),
      ({ body }) => body.webhook?.state === 'delivered',
    );
    const [{ secret }] = (await verifiers()) as [{ secret: string }];
    const { webhook: _, ...sent } = shown;
    expect(new Webhook(secret).verify(call!.body, call!.headers)).toEqual(sent);
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
    const json = { to: 'ada@example.test', template: 'welcome', variables: { name: 'Ada' } };
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

  test('is listed with what became of it', async () => {
    receiver.on('/listed', (_, response) => response.writeHead(410).end());
    const { body: job } = await mail('/listed');
    const list = (query = '') =>
      rig.call<{ deliveries: { jobId: string; state: string }[]; next?: string }>(`/v1/webhooks/deliveries${query}`);
    const delivery = async () => (await list()).body.deliveries.find(({ jobId }) => jobId === job.id);
    expect(await eventually(delivery, (found) => found?.state === 'failed')).toEqual({
      jobId: job.id,
      host: `127.0.0.1:${receiver.port}`,
      jobState: 'succeeded',
      state: 'failed',
      at: expect.any(String) as string,
      detail: 'the receiver answered 410',
    });
    const first = await list('?limit=1');
    expect(first.body.deliveries).toMatchObject([{ jobId: job.id }]);
    const second = await list(`?limit=1&cursor=${first.body.next}`);
    expect(second.body.deliveries.map(({ jobId }) => jobId)).not.toContain(job.id);
    expect((await list('?cursor=x')).status).toBe(400);
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
  ])('%s is called again until the webhook is too old; then it is a dead letter', async (name, answer) => {
    const path = `/${name.replaceAll(' ', '-')}`;
    receiver.on(path, answer);
    const { body: job } = await mail(path);
    const letter = await eventually(
      () => givenUp(job.id),
      (found) => found !== undefined,
    );
    expect(letter?.stream).toBe('WEBHOOKS');
    expect(receiver.calls(path).length).toBeGreaterThanOrEqual(2);
    expect(receiver.calls('/elsewhere')).toEqual([]);
    // The job itself ended well, and stays so.
    const { body } = await rig.call<JobView>(`/v1/jobs/${job.id}`);
    expect([body.state, body.webhook?.state]).toEqual(['succeeded', 'failed']);
  });

  test('says more than is read is hung up on, and counts by its status', async () => {
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

describe('receivers that are slow', () => {
  test('hold up no other account', async () => {
    const held: ServerResponse[] = [];
    const slow = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const each = await startReceiver();
        each.on('/', (_, response) => void held.push(response));
        return each;
      }),
    );
    const other = await startRig({ settings: { webhooks: { ...defaultWebhooks, targets: 'any', timeoutMs: 60_000 } } });
    await other.workers();
    const post = (callbackUrl: string) =>
      other.call('/v1/emails', {
        json: { to: 'ada@example.test', template: 'welcome', variables: { name: 'Ada' }, callbackUrl },
      });
    // More webhooks than the calls of all that may be on their way at once.
    for (let i = 0; i < 30; i += 1) await Promise.all(slow.map(({ port }) => post(`http://127.0.0.1:${port}/`)));
    await eventually(
      async () => held.length,
      (calls) => calls >= slow.length,
    );
    const unrelated = await startReceiver();
    await post(`http://127.0.0.1:${unrelated.port}/unrelated`);
    // The others answer only after this one was called.
    await eventually(
      async () => unrelated.calls('/unrelated'),
      (calls) => calls.length > 0,
    );
    for (const response of held) response.end();
    for (const each of [...slow, unrelated]) await each.close();
    await other.stop();
  });
});

describe('the call limiter', () => {
  const limits = {
    ...defaultCallLimits,
    total: 4,
    perAccount: 3,
    perHost: 2,
    retriesPerAccount: 1,
    waitingPerAccount: 3,
  };
  const caller = (account: string, host: string, retry = false) => ({ account, host, retry });

  test('starts first attempts before retries, and the account with fewer calls before the other', async () => {
    const limiter = createCallLimiter(limits);
    const order: string[] = [];
    const ask = async (name: string, who: ReturnType<typeof caller>) => {
      const release = await limiter.acquire(who);
      order.push(name);
      return release;
    };
    const running = await Promise.all([
      ask('a1', caller('a', 'x')),
      ask('a2', caller('a', 'y')),
      ask('b1', caller('b', 'z')),
      ask('b2', caller('b', 'z')),
    ]);
    const rest = [
      ask('a retry', caller('a', 'y', true)),
      ask('a first', caller('a', 'y')),
      ask('c first', caller('c', 'w')),
    ];
    for (const release of running) release?.('reached');
    await Promise.all(rest);
    expect(order.slice(4)).toEqual(['c first', 'a first', 'a retry']);
    limiter.close();
  });

  test('lets a host that fails have one call at a time until it answers', async () => {
    const limiter = createCallLimiter(limits);
    (await limiter.acquire(caller('a', 'x')))?.('failed');
    const probe = await limiter.acquire(caller('a', 'x'));
    let started = 0;
    const waiting = [1, 2].map(async () => {
      const release = await limiter.acquire(caller('a', 'x'));
      started += 1;
      return release;
    });
    await Promise.resolve();
    expect(started).toBe(0);
    probe?.('reached');
    await Promise.all(waiting);
    expect(started).toBe(2);
    limiter.close();
  });

  test('knows which hosts answer, and what found no place looks again sooner where one does', async () => {
    const limiter = createCallLimiter(defaultCallLimits);
    const known = [limiter.isAnswering('x')];
    for (const outcome of ['reached', 'failed', 'reached', 'reached'] as const) {
      (await limiter.acquire(caller('a', 'x')))?.(outcome);
      known.push(limiter.isAnswering('x'));
    }
    expect(known).toEqual([false, true, false, false, true]);
    limiter.close();
    expect([0, 6_000, 600_000].map((ageMs) => putBackMs(ageMs, true))).toEqual([1_000, 3_000, 60_000]);
    expect([0, 6_000, 600_000].map((ageMs) => putBackMs(ageMs, false))).toEqual([5_000, 5_000, 60_000]);
  });

  test('sends away what is too much to wait, and everything once it is closed', async () => {
    const limiter = createCallLimiter(limits);
    for (let i = 0; i < 2; i += 1) await limiter.acquire(caller('a', 'x'));
    const waiting = Array.from({ length: 3 }, () => limiter.acquire(caller('a', 'x')));
    expect(await limiter.acquire(caller('a', 'x'))).toBeUndefined();
    limiter.close();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined, undefined]);
    expect(await limiter.acquire(caller('b', 'y'))).toBeUndefined();
  });
});

describe('a Retry-After', () => {
  const nowMs = Date.parse('2026-11-28T12:00:00Z');
  test.each([
    ['120', 120_000],
    ['Sat, 28 Nov 2026 12:01:30 GMT', 90_000],
    ['Sat, 28 Nov 2026 11:00:00 GMT', undefined],
    ['soon', undefined],
    ['-5', undefined],
    [undefined, undefined],
  ])('of %s', (header, ms) => {
    expect(retryAfterMs(header, nowMs)).toBe(ms);
  });
});

describe('a webhook that finds no room in the queue', () => {
  test('is dropped, and its job says so', async () => {
    const other = await startRig({ settings: { webhooks: { ...defaultWebhooks, targets: 'any' } } });
    const { config } = await other.bus.jsm.streams.info('WEBHOOKS');
    await other.bus.jsm.streams.update('WEBHOOKS', { ...config, max_msgs_per_subject: 1 });
    const stuck = await startReceiver();
    stuck.on('/', () => undefined);
    await other.workers();
    const post = async () =>
      (
        await other.call<JobView>('/v1/emails', {
          json: {
            to: 'ada@example.test',
            template: 'welcome',
            variables: { name: 'Ada' },
            callbackUrl: `http://127.0.0.1:${stuck.port}/`,
          },
        })
      ).body.id;
    await post();
    await eventually(
      async () => stuck.calls('/'),
      (calls) => calls.length > 0,
    );
    const second = await post();
    const { body } = await eventually(
      () => other.call<JobView>(`/v1/jobs/${second}`),
      (seen) => seen.body.webhook?.state === 'dropped',
    );
    expect(body.state).toBe('succeeded');
    const { body: timeline } = await other.call<{ events: { event: string }[] }>(`/v1/jobs/${second}/events`);
    expect(timeline.events.map(({ event }) => event)).toContain('webhook_dropped');
    await stuck.close();
    await other.stop();
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
  test.each(hosts)('not to %s, in any spelling', (host) => {
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
    const strict = await rig.replica({
      settings: { webhooks: { ...defaultWebhooks, targets: 'public', timeoutMs, ...retries } },
    });
    for (const callbackUrl of [url('/'), 'https://127.0.0.1/', 'https://[::ffff:10.0.0.1]/']) {
      const json = { to: 'ada@example.test', template: 'welcome', variables: { name: 'Ada' }, callbackUrl };
      const answer = await rig.call(`${strict.url}/v1/emails`, { json });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/callbackUrl' }] } });
    }
  });
});

describe('the connection of a webhook', () => {
  const agentTo = (addresses: () => string[], mayReach = isPublicAddress) =>
    createOutboundAgent({
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

  test('is made while names without an answer are looked up', async () => {
    // A DNS server that says nothing: with `dns.lookup` four of these held up every other lookup and file access.
    const agent = createOutboundAgent({ targets: 'any', connectTimeoutMs: 10_000 });
    const lost = Array.from({ length: 16 }, (_, i) => post(agent, `http://nobody-${i}.invalid/`).catch(() => 'lost'));
    expect(await post(agent, `http://localhost:${receiver.port}/`)).toBe(200);
    expect(new Set(await Promise.all(lost))).toEqual(new Set(['lost']));
    await agent.close();
  });

  test('knows the names of the hosts file', () => {
    const hosts = addressesOf('127.0.0.1 localhost Web.Local # of this machine\n::1 localhost\nnonsense here\n');
    expect(hosts.get('localhost')).toEqual([
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]);
    expect(hosts.get('web.local')).toEqual([{ address: '127.0.0.1', family: 4 }]);
    expect(hosts.get('here')).toBeUndefined();
  });
});
