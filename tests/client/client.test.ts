import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ConnectionError,
  createClient,
  dataOf,
  IncompleteError,
  isEnded,
  isProblem,
  ProblemError,
  TimeoutError,
  whyWaiting,
  type ClientOptions,
  type JobEvent,
  type Runtime,
  type Sluice,
  type UploadProgress,
} from '@sluice/client';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { startRig, type Rig } from '../../services/gateway/tests/rig.ts';

const samples = join(import.meta.dirname, '../../samples');
const photo = new Blob([readFileSync(join(samples, 'photo.jpg'))], { type: 'image/jpeg' });
const scan = new Blob([readFileSync(join(samples, 'scan.png'))], { type: 'image/png' });

let rig: Rig;
let sluice: Sluice;
/** Mails to held@example.com are sent once it resolves. */
const held = Promise.withResolvers<void>();
beforeAll(async () => {
  rig = await startRig();
  await rig.workers({
    send: ({ email: mail }) => (mail?.to === 'held@example.com' ? held.promise : Promise.resolve()),
  });
  sluice = clientOf();
});
afterAll(() => rig?.stop());

const clientOf = (options: ClientOptions = {}): Sluice => createClient({ baseUrl: rig.gateway.url, ...options });
const email = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } } as const;
/** A runtime that does not wait, and remembers how long it was asked to. */
function impatient(fetch?: Runtime['fetch']): { readonly runtime: Partial<Runtime>; readonly waitedMs: number[] } {
  const waitedMs: number[] = [];
  const sleep = (ms: number): Promise<void> => {
    waitedMs.push(ms);
    return Promise.resolve();
  };
  return { waitedMs, runtime: { random: () => 0.5, sleep, ...(fetch === undefined ? {} : { fetch }) } };
}
const failure = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.unreachable('it should have failed'),
    (error: unknown) => error,
  );

describe('an account', () => {
  test('shows what it may do, and makes and revokes keys of its own', async () => {
    expect(await sluice.account.get()).toMatchObject({ id: 'local', scopes: ['*'], limits: { keys: 2 } });
    const { key, prefix } = await sluice.keys.create(['jobs:read']);
    expect(key.startsWith(prefix)).toBe(true);
    expect(await sluice.keys.list()).toMatchObject([{ prefix, scopes: ['jobs:read'] }]);
    await sluice.keys.revoke(prefix);
    expect(await sluice.keys.list()).toEqual([]);
    expect(await failure(sluice.keys.revoke(prefix))).toMatchObject({ code: 'not_found' });
  });

  test('has webhooks: their deliveries, their secrets and a test of a receiver', async () => {
    expect(await sluice.webhooks.test('https://127.0.0.1/')).toMatchObject({ delivered: false });
    const [before] = await sluice.webhooks.secrets();
    expect(await sluice.webhooks.rotateSecret()).toMatchObject([{}, { secret: before!.secret }]);
    const job = await sluice.emails.send({ ...email, callbackUrl: 'https://webhooks.invalid/hook' });
    await sluice.jobs.waitFor(job);
    await expect
      .poll(async () => (await sluice.webhooks.deliveries({ limit: 5 })).deliveries)
      .toMatchObject([{ jobId: job.id, host: 'webhooks.invalid', state: 'retrying' }]);
  });
});

describe('a job', () => {
  test('is made from an image, waited for, and gives its PDF', async () => {
    const job = await sluice.images.convert(photo, { pageSize: 'a4' });
    expect(isEnded(job)).toBe(false);
    const ended = await sluice.jobs.waitFor(job);
    expect(ended).toMatchObject({ id: job.id, kind: 'image', state: 'succeeded', result: { pages: 1 } });
    expect(await (await sluice.jobs.pdf(ended)).text()).toContain('%PDF-');
  });

  test('has a page for each of several images', async () => {
    const job = await sluice.images.convert([photo, scan], { waitSeconds: 20 });
    expect(job).toMatchObject({ state: 'succeeded', result: { pages: 2 } });
  });

  test('of a mail, and of a user, ends too', async () => {
    const mail = await sluice.emails.send(email);
    const user = await sluice.users.create({ name: 'Ada', email: 'ada@example.com' });
    for (const job of [mail, user]) expect(await sluice.jobs.waitFor(job.id)).toMatchObject({ state: 'succeeded' });
  });

  test('is found in the list, page by page', async () => {
    const { id } = await sluice.emails.send({ ...email, to: 'list@example.com' }, { waitSeconds: 20 });
    await expect.poll(async () => (await sluice.jobs.list({ recipient: 'list@example.com' })).jobs.length).toBe(1);
    const ids: string[] = [];
    for await (const job of sluice.jobs.all({ recipient: 'list@example.com' })) ids.push(job.id);
    expect(ids).toEqual([id]);
  });

  test('is found by the name of its file, however it was sent', async () => {
    const file = new File([scan], 'Receipt of May.png', { type: 'image/png' });
    const { id: raw } = await sluice.images.convert(file);
    const { id: uploaded } = await sluice.images.upload(file);
    const { id: form } = await sluice.images.convert([file, photo]);
    const { id: named } = await sluice.images.convert(photo, { fileName: 'Receipt of May.png' });
    await expect
      .poll(async () =>
        (await sluice.jobs.list({ fileName: 'receipt of may.png' })).jobs.map(({ id }) => id).toSorted(),
      )
      .toEqual([raw, uploaded, form, named].toSorted());
  });

  test('is sent again as it was: its options, its names, its metadata', async () => {
    const metadata = { order: '17' };
    const file = new File([scan], 'Receipt of June.png', { type: 'image/png' });
    const one = await sluice.images.convert(file, { pageSize: 'a5', metadata });
    const two = await sluice.images.convert([file, photo], { metadata });
    const mail = await sluice.emails.send({ ...email, locale: 'en', metadata });
    for (const { id } of [one, two, mail]) {
      await sluice.jobs.waitFor(id);
      const again = await sluice.jobs.rerun(id);
      expect(again.id).not.toBe(id);
      expect(await sluice.jobs.request(again)).toEqual(await sluice.jobs.request(id));
      const before = await sluice.jobs.get(id);
      expect(await sluice.jobs.waitFor(again)).toMatchObject({
        state: 'succeeded',
        metadata,
        ...(before.fileNames === undefined ? {} : { fileNames: before.fileNames }),
      });
    }
    expect((await sluice.jobs.sources(two)).map(({ name, size }) => [name, size])).toEqual([
      ['Receipt of June.png', scan.size],
      ['image-2', photo.size],
    ]);
  });

  test('whose pictures were fetched from addresses is asked to be fetched again', async () => {
    const urls = ['https://pictures.invalid/a.png', 'https://pictures.invalid/b.png'];
    const job = await sluice.images.convertUrls(urls, { maxWidth: 100, metadata: { order: '18' } });
    expect(await sluice.jobs.sources(job)).toEqual([]);
    const again = await sluice.jobs.rerun(job);
    expect(await sluice.jobs.request(again)).toEqual(await sluice.jobs.request(job));
    expect(await sluice.jobs.request(again)).toMatchObject({
      query: { maxWidth: '100' },
      sources: [{ url: urls[0] }, {}],
    });
  });

  test('that was a mail with attachments is not sent again without them', async () => {
    const { id: jobId } = await sluice.jobs.waitFor(await sluice.images.convert(photo));
    const mail = await sluice.emails.send({ ...email, attachments: [{ jobId }] });
    expect(await failure(sluice.jobs.rerun(mail))).toBeInstanceOf(IncompleteError);
  });

  test('that is open says what it waits for, also for a reason that a newer API has', () => {
    const since = '2026-11-29T10:00:00.000Z';
    expect(whyWaiting({ reason: 'paused', detail: 'welcome_mailer: maintenance', since })).toBe(
      `An operator has paused its pipeline (welcome_mailer: maintenance), since ${since}`,
    );
    expect(whyWaiting({ reason: 'queue', detail: 'in EMAILS', ahead: 7 })).toBe(
      'It waits in the queue for its turn (in EMAILS), 7 may go before it',
    );
    expect(whyWaiting({ reason: 'moon' as 'queue', detail: '' })).toBe('It waits');
  });

  test('that does not end is not waited for beyond the time given', async () => {
    const job = await sluice.emails.send({ ...email, to: 'held@example.com' });
    expect(await failure(sluice.jobs.waitFor(job, { timeoutMs: 50 }))).toBeInstanceOf(TimeoutError);
    expect((await sluice.jobs.cancel(job)).cancelRequested).toBe(true);
    held.resolve();
    expect((await sluice.jobs.waitFor(job)).state).toBe('succeeded');
  });

  test('can be read by any route, typed', async () => {
    const { streams } = await dataOf(sluice.api.GET('/v1/stats'));
    expect(streams.map(({ name }) => name)).toContain('JOBS');
  });
});

describe('a request', () => {
  /** Carries requests out and loses the first answers. */
  const losing = (count: number): Runtime['fetch'] => {
    let left = count;
    return async (request) => {
      const answer = await fetch(request);
      left -= 1;
      if (left >= 0) throw new TypeError('fetch failed', { cause: { code: 'ECONNRESET' } });
      return answer;
    };
  };

  test('whose answer is lost makes one job', async () => {
    const lossy = clientOf(impatient(losing(2)));
    const to = 'once@example.com';
    const { id } = await lossy.emails.send({ ...email, to });
    await sluice.jobs.waitFor(id);
    const raw = clientOf(impatient(losing(1)));
    const { id: second } = await dataOf(raw.api.POST('/v1/emails', { body: { ...email, to } }));
    await sluice.jobs.waitFor(second);
    await expect
      .poll(async () => (await sluice.jobs.list({ recipient: to })).jobs.map((job) => job.id))
      .toEqual([second, id]);
  });

  test('that carries an image whose answer is lost makes one job', async () => {
    const imageIds = async () => (await sluice.jobs.list({ kind: 'image', limit: 200 })).jobs.map((job) => job.id);
    const before = await imageIds();
    for (const onProgress of [undefined, () => undefined]) {
      const { id } = await clientOf(impatient(losing(1))).images.convert([photo, scan], { onProgress });
      await sluice.jobs.waitFor(id);
      before.unshift(id);
      await expect.poll(imageIds).toEqual(before);
    }
  });

  test('with the same key is the same job', async () => {
    const first = await sluice.emails.send(email, { idempotencyKey: 'order-7' });
    expect((await sluice.emails.send(email, { idempotencyKey: 'order-7' })).id).toBe(first.id);
    const error = await failure(
      sluice.users.create({ name: 'Ada', email: 'a@example.com' }, { idempotencyKey: 'order-7' }),
    );
    expect(isProblem(error, 'idempotency_key_reused')).toBe(true);
  });

  test('that may do something twice is sent once when its answer is lost', async () => {
    const { runtime, waitedMs } = impatient(losing(1));
    const error = await failure(clientOf({ runtime }).api.POST('/v1/webhooks/secrets:rotate', {}));
    expect(error).toBeInstanceOf(ConnectionError);
    expect((error as Error).message).toBe('The API could not be reached: ECONNRESET');
    expect(waitedMs).toEqual([]);
  });

  /** Answers for the API, for what a test cannot make it do at will. */
  const refusing = (answers: readonly Response[]): Runtime['fetch'] => {
    const left = [...answers];
    return async (request) => left.shift() ?? fetch(request);
  };
  const problem = (status: number, code: string, retryAfter: string): Response =>
    Response.json(
      { code, detail: `${code}.` },
      { status, headers: { 'content-type': 'application/problem+json', 'retry-after': retryAfter } },
    );

  test('waits as long as it is told to, and backs off by itself otherwise', async () => {
    const answers = [
      problem(429, 'rate_limited', '2'),
      problem(503, 'overloaded', '5'),
      new Response('', { status: 502 }),
    ];
    const { runtime, waitedMs } = impatient(refusing(answers));
    await clientOf({ runtime }).jobs.list();
    expect(waitedMs).toEqual([2_000 + 125, 5_000 + 250, 500]);
  });

  test('is repeated when nothing was done, also a request without a key', async () => {
    const { runtime, waitedMs } = impatient(refusing([problem(503, 'overloaded', '1')]));
    await clientOf({ runtime }).api.POST('/v1/webhooks/secrets:rotate', {});
    expect(waitedMs).toHaveLength(1);
  });

  test('gives up after so many repeats, and at once when the wait would be long', async () => {
    const busy = Array.from({ length: 9 }, () => problem(503, 'overloaded', '1'));
    const { runtime, waitedMs } = impatient(refusing(busy));
    expect(isProblem(await failure(clientOf({ runtime }).jobs.list()), 'overloaded')).toBe(true);
    expect(waitedMs).toHaveLength(4);
    const long = impatient(refusing([problem(429, 'rate_limited', '3600')]));
    const error = await failure(clientOf({ runtime: long.runtime }).jobs.list());
    expect(error).toMatchObject({ code: 'rate_limited', retryAfterSeconds: 3_600 });
    expect(long.waitedMs).toEqual([]);
  });

  test('that is wrong says what is wrong where, and is not repeated', async () => {
    const { runtime, waitedMs } = impatient();
    const error = await failure(clientOf({ runtime }).emails.send({ ...email, to: 'no address' }));
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({ code: 'invalid_request', status: 400, problem: { errors: [{ pointer: '/to' }] } });
    expect((error as ProblemError).traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(isProblem(await failure(sluice.jobs.get('job_nothing')), 'not_found')).toBe(true);
    expect(waitedMs).toEqual([]);
  });

  test('ends when its signal does', async () => {
    const reason = new Error('enough');
    expect(await failure(sluice.jobs.list({}, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(await failure(sluice.images.convert(photo, { signal: AbortSignal.abort(reason) }))).toBe(reason);
  });

  test('to where nothing listens says so', async () => {
    const { runtime } = impatient();
    const error = await failure(createClient({ baseUrl: 'http://127.0.0.1:1', runtime }).jobs.list());
    expect(error).toMatchObject({
      code: 'connection_failed',
      message: expect.stringMatching(/^The API could not be reached: /) as string,
    });
    expect(() => createClient()).toThrow('baseUrl undefined is no URL');
  });

  test('needs nothing that only pages over https have', async () => {
    const randomUUID = vi.spyOn(crypto, 'randomUUID').mockImplementation(() => {
      throw new TypeError('crypto.randomUUID is not a function');
    });
    onTestFinished(() => randomUUID.mockRestore());
    expect(await sluice.emails.send(email)).toMatchObject({ kind: 'email' });
  });

  test('with what is no image asks for nothing else', async () => {
    const order = new Blob([JSON.stringify({ urls: ['https://pictures.invalid/a.png'] })], {
      type: 'application/json',
    });
    expect(isProblem(await failure(sluice.images.convert(order)), 'unsupported_media_type')).toBe(true);
  });

  test('that is refused is told of once, after its repeats', async () => {
    const told: string[] = [];
    const watched = clientOf({ onProblem: ({ code }) => told.push(code) });
    await failure(watched.jobs.get('job_nothing'));
    await watched.jobs.list();
    expect(told).toEqual(['not_found']);
  });

  test('carries the key that is current, and the headers of the caller', async () => {
    const seen: (string | null)[] = [];
    const runtime = {
      fetch: (request: Request) => {
        seen.push(request.headers.get('authorization'), request.headers.get('x-csrf-token'));
        return fetch(request);
      },
    };
    let key = 'sk_one';
    const keyed = clientOf({ apiKey: () => key, headers: () => ({ 'x-csrf-token': 'token' }), runtime });
    await keyed.jobs.list();
    key = 'sk_two';
    await keyed.images.convert(photo);
    expect(seen).toEqual(['Bearer sk_one', 'token', 'Bearer sk_two', 'token']);
  });
});

describe('watching a job', () => {
  const collect = async (watched: Sluice, id: string, lastEventId?: string): Promise<JobEvent[]> => {
    const events: JobEvent[] = [];
    for await (const event of watched.jobs.watch(id, lastEventId === undefined ? {} : { lastEventId }))
      events.push(event);
    return events;
  };

  test('gives every event once and ends with the job, however often the connection breaks', async () => {
    const job = await sluice.images.convert(photo);
    /** Ends every stream after its first event. */
    const cutting: Runtime['fetch'] = async (request) => {
      const answer = await fetch(request);
      if (!request.url.endsWith('/stream') || answer.body === null) return answer;
      let events = 0;
      const cut = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          controller.enqueue(chunk);
          events += new TextDecoder().decode(chunk).split('data:').length - 1;
          if (events > 0) controller.error(new TypeError('terminated'));
        },
      });
      return new Response(answer.body.pipeThrough(cut), answer);
    };
    const whole = await collect(sluice, job.id);
    const pieces = await collect(clientOf(impatient(cutting)), job.id);
    expect(whole.at(-1)).toMatchObject({ type: 'state', state: 'succeeded' });
    expect(pieces).toEqual(whole);
    expect(new Set(whole.map(({ id }) => id)).size).toBe(whole.length);
    expect(await collect(sluice, job.id, whole[0]!.id)).toEqual(whole.slice(1));
    expect(await collect(sluice, job.id, whole.at(-1)!.id)).toEqual([]);
  });

  test('gives what came together in one array', async () => {
    const job = await sluice.emails.send(email, { waitSeconds: 20 });
    const batches: (readonly JobEvent[])[] = [];
    for await (const batch of sluice.jobs.watchBatches(job)) batches.push(batch);
    expect(batches.flat()).toEqual(await collect(sluice, job.id));
    expect(batches.length).toBeLessThan(batches.flat().length);
  });

  test('that persists outlives an API that stays away, and tells how its connection stands', async () => {
    const job = await sluice.emails.send(email, { waitSeconds: 20 });
    let calls = 0;
    const away: Runtime['fetch'] = (request) => {
      calls += 1;
      if (calls <= 40) return Promise.reject(new TypeError('fetch failed'));
      if (calls === 41) return Promise.resolve(new Response(null, { status: 503 }));
      if (calls === 42) return Promise.resolve(new Response('retry: 1\n\n'));
      return fetch(request);
    };
    const { runtime } = impatient(away);
    const states: boolean[] = [];
    const events: JobEvent[] = [];
    const options = { persist: true, onConnection: (isOpen: boolean) => void states.push(isOpen) };
    for await (const event of clientOf({ runtime }).jobs.watch(job, options)) events.push(event);
    expect(events).toEqual(await collect(sluice, job.id));
    expect(states.slice(0, 3)).toEqual([true, false, true]);
    expect(isProblem(await failure(collect(sluice, 'job_nothing')), 'not_found')).toBe(true);
  });

  test('that persists is refused all the same', async () => {
    const watched = sluice.jobs.watch('job_nothing', { persist: true });
    expect(isProblem(await failure(watched.next()), 'not_found')).toBe(true);
  });

  test('of a job that is not there is refused', async () => {
    expect(isProblem(await failure(collect(sluice, 'job_nothing')), 'not_found')).toBe(true);
  });

  test('is given up when connections bring nothing', async () => {
    const { runtime } = impatient(() => Promise.resolve(new Response('retry: 1\n\n')));
    expect(await failure(collect(clientOf({ runtime }), 'job_any'))).toBeInstanceOf(ConnectionError);
  });

  test('ends when its signal does', async () => {
    const { id } = await sluice.emails.send(email, { waitSeconds: 20 });
    const stop = new AbortController();
    const watched = sluice.jobs.watch(id, { signal: stop.signal });
    await watched.next();
    stop.abort(new Error('enough'));
    const rest = (async () => {
      for await (const _ of watched);
    })();
    await expect(rest).rejects.toThrow('enough');
  });
});

test('the system is watched until the signal ends it', async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { streams } of sluice.system.watch({ signal: stop.signal })) {
      seen.push(...streams.map(({ name }) => name));
      stop.abort(new Error('enough'));
    }
  })();
  await expect(watching).rejects.toThrow('enough');
  expect(seen).toContain('EMAILS');
});

describe('an upload', () => {
  const large = new Blob([photo, new Uint8Array(300_000)], { type: 'image/jpeg' });

  test.each([
    ['through the API', (onProgress: (at: UploadProgress) => void) => sluice.images.convert(large, { onProgress })],
    ['of several', (onProgress: (at: UploadProgress) => void) => sluice.images.convert([large, photo], { onProgress })],
    [
      'to the store',
      (onProgress: (at: UploadProgress) => void) => sluice.images.upload(large, { onProgress, maxWidth: 100 }),
    ],
  ])('%s tells how far it is, up to its end', async (_, send) => {
    const seen: UploadProgress[] = [];
    const job = await send((at) => seen.push(at));
    expect(seen.length).toBeGreaterThan(1);
    const last = seen.at(-1)!;
    expect(last.sentBytes).toBe(last.totalBytes);
    expect(seen.map(({ sentBytes }) => sentBytes)).toEqual(
      seen.map(({ sentBytes }) => sentBytes).toSorted((a, b) => a - b),
    );
    expect((await sluice.jobs.waitFor(job)).state).toBe('succeeded');
  });

  test('to the store needs no progress', async () => {
    const job = await sluice.images.upload(photo);
    expect((await sluice.jobs.waitFor(job)).state).toBe('succeeded');
  });
});
