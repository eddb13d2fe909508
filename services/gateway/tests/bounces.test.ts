import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { channels, EmailDeferredSchema, JobState } from '@sluice/contracts';
import { decoder } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';
import { bounceToken, openSuppressions, type Suppressions } from '@sluice/suppression';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JobView } from '../src/jobs/job-view.ts';
import { defaultWebhooks } from '../src/webhooks/webhooks.ts';
import { eventually, startRig, type Rig } from './rig.ts';

const SECRET = 'a secret of some length';
/** Mails to these are not recorded as sent before their promise is resolved. */
const EARLY = 'early@example.com';
const recorded = Promise.withResolvers<void>();
const LATE = 'late@example.com';
const taken = Promise.withResolvers<void>();
let rig: Rig;
let list: Suppressions;
let receiver: Server;
const calls: { readonly id: string; readonly job: JobView }[] = [];
beforeAll(async () => {
  rig = await startRig({
    settings: { bounces: { secret: SECRET, smtpPort: 0 }, webhooks: { ...defaultWebhooks, targets: 'any' } },
  });
  await rig.workers({
    async send({ email }) {
      if (email?.to === EARLY) await recorded.promise;
      if (email?.to === LATE) await taken.promise;
    },
  });
  list = await openSuppressions(rig.bus.nc);
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      calls.push({ id: String(request.headers['webhook-id']), job: JSON.parse(body) as JobView });
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
});
afterAll(async () => {
  await rig?.stop();
  receiver?.close();
});

const jobOf = async (id: string): Promise<JobView> => (await rig.call<JobView>(`/v1/jobs/${id}`)).body;
/** The states in which clients over NATS were told of a job. */
async function callbackStates(id: string): Promise<JobState[]> {
  const decode = decoder(channels.clientEmailSent);
  const { first_seq: first, last_seq: last } = (await rig.bus.jsm.streams.info('CLIENTS')).state;
  const states: JobState[] = [];
  for (let seq = first; seq <= last; seq += 1) {
    const message = await rig.bus.jsm.streams.getMessage('CLIENTS', { seq });
    const job = message === null ? undefined : decode(message.data).job;
    if (job?.id === id) states.push(job.state);
  }
  return states;
}
const mailTo = (to: string) => {
  const callbackUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  return { to, template: 'notification', variables: { message: 'hi' }, callbackUrl };
};
/** A mail that was sent, and the address it came from. */
async function sent(to: string): Promise<{ readonly id: string; readonly token: string }> {
  const json = mailTo(to);
  const { body } = await rig.call<JobView>('/v1/emails', { json, headers: { prefer: 'wait=20' } });
  expect(body.state).toBe('succeeded');
  return { id: body.id, token: bounceToken(body.id, SECRET) ?? '' };
}

interface Dsn {
  readonly status: string;
  readonly action?: string;
  readonly words?: string;
}
/** A notification as Postfix writes it. */
const dsn = (token: string, { status, action = 'failed', words }: Dsn): string =>
  [
    `To: ${token}@bounces.example.com`,
    'From: MAILER-DAEMON@mx.example.net (Mail Delivery System)',
    'Subject: Undelivered Mail Returned to Sender',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
    '',
    '--b',
    'Content-Description: Notification',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    'I could not deliver your message.',
    '',
    '--b',
    'Content-Description: Delivery report',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.example.net',
    'X-Postfix-Queue-ID: 4ABC',
    '',
    'Final-Recipient: rfc822; other@example.org',
    `Action: ${action}`,
    `Status: ${status}`,
    ...(words === undefined ? [] : [`Diagnostic-Code: smtp; ${words}`]),
    '',
    '--b',
    'Content-Description: Undelivered Message',
    'Content-Type: message/rfc822',
    '',
    'From: no-reply@example.com',
    'Subject: hi',
    '',
    'hi',
    '--b--',
    '',
  ].join('\r\n');
/** A complaint as a feedback loop sends it: to an address of the loop, with the mail it is about. */
const complaint = (token: string): string =>
  [
    'To: fbl@example.com',
    'From: complaints@provider.example',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=feedback-report; boundary="b"',
    '',
    '--b',
    'Content-Type: text/plain',
    '',
    'This is an email abuse report.',
    '--b',
    'Content-Type: message/feedback-report',
    '',
    'Feedback-Type: abuse',
    'User-Agent: SomeGenerator/1.0',
    'Version: 1',
    '',
    '--b',
    'Content-Type: message/rfc822',
    '',
    'From: no-reply@example.com',
    `X-Sluice-Report: ${token}`,
    'Subject: hi',
    '',
    'hi',
    '--b--',
    '',
  ].join('\r\n');
const post = async (body: string, recipient?: string): Promise<string> => {
  const query = recipient === undefined ? '' : `?recipient=${encodeURIComponent(recipient)}`;
  const answer = await rig.call<{ taken: string }>(`/v1/mail-reports${query}`, {
    body,
    headers: { 'content-type': 'message/rfc822' },
  });
  expect(answer.status).toBe(202);
  return answer.body.taken;
};

/** A mail server that hands a mail over; resolves to the reply of each command. */
async function deliver(to: string, mail: string): Promise<string[]> {
  const socket = connect(rig.gateway.bouncePort ?? 0, '127.0.0.1');
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async (): Promise<string> => {
    for (;;) {
      const { value = '' } = (await lines.next()) as { value?: string };
      if (value === '' || value[3] !== '-') return value;
    }
  };
  const replies = [await reply()];
  for (const command of ['EHLO mx.example.net', 'MAIL FROM:<>', `RCPT TO:<${to}>`, 'DATA', `${mail}.`, 'QUIT']) {
    socket.write(`${command}\r\n`);
    replies.push(await reply());
    if (replies.at(-1)?.startsWith('5')) break;
  }
  socket.destroy();
  return replies;
}

describe('a mail that comes back', () => {
  test('over SMTP, because there is no such mailbox, suppresses the address and shows on the job', async () => {
    const { id, token } = await sent('gone@example.com');
    const words = '550 5.1.1 <gone@example.com>: Recipient address rejected: User unknown';
    const replies = await deliver(`${token}@bounces.example.com`, dsn(token, { status: '5.1.1', words }));
    expect(replies.map((reply) => reply.slice(0, 3))).toEqual(['220', '250', '250', '250', '354', '250', '221']);
    expect(await list.reasonFor('gone@example.com', false)).toBe('bounce');
    expect(await list.find('other@example.org')).toEqual([]);
    const job = await jobOf(id);
    expect(job.state).toBe('succeeded');
    expect(job.result).toMatchObject({
      bounce: '5.1.1 550 5.1.1 <[address]>: Recipient address rejected: User unknown',
    });
    const { body } = await rig.call<{ events: { event: string }[] }>(`/v1/jobs/${id}/events`);
    expect(JSON.stringify(body)).toContain('reported');
  });

  test('in the form for addresses outside ASCII (RFC 6533) counts as any other', async () => {
    const { id, token } = await sent('jürgen@example.com');
    const report = dsn(token, { status: '5.1.1', words: '550 5.1.1 no such user' })
      .replace('message/delivery-status', 'message/global-delivery-status')
      .replace('rfc822; other@example.org', 'utf-8; j\\x{FC}rgen@example.org');
    expect(await post(report)).toBe('bounce');
    expect(await list.reasonFor('jürgen@example.com', false)).toBe('bounce');
    expect((await jobOf(id)).result).toMatchObject({ bounce: '5.1.1 550 5.1.1 no such user' });
  });

  test('tells the URL of its job, under an id of its own', async () => {
    const { id, token } = await sent('told@example.com');
    await post(dsn(token, { status: '5.1.1' }));
    await eventually(
      async () => calls.filter(({ job }) => job.id === id),
      (told) => told.length === 2,
    );
    const [end, report] = calls.filter(({ job }) => job.id === id);
    expect(end?.job.result).not.toHaveProperty('bounce');
    expect(report?.job.result).toMatchObject({ bounce: '5.1.1' });
    expect(report?.id).not.toBe(end?.id);
  });

  test.each([
    ['the mailbox is full', { status: '5.2.2', words: '552 5.2.2 mailbox full' }],
    ['our server is on a list', { status: '5.7.1', words: '554 5.7.1 Client host blocked using bl.example.net' }],
    ['relaying was denied under the code of a dead mailbox', { status: '5.1.1', words: '550 5.1.1 relaying denied' }],
    ['it was tried for too long', { status: '4.4.7', words: '421 4.4.7 delivery time expired' }],
  ])('because %s suppresses no address', async (name, report) => {
    const to = `healthy-${name.length}@example.com`;
    const { id, token } = await sent(to);
    expect(await post(dsn(token, report))).toBe('bounce');
    expect(await list.reasonFor(to, false)).toBeUndefined();
    expect((await jobOf(id)).result).toMatchObject({ bounce: expect.stringContaining(report.status) as string });
  });

  test('in words alone suppresses after the second mail, and not after the second report about one', async () => {
    const [first, second] = [await sent('words@example.com'), await sent('words@example.com')];
    const report = { status: '5.0.0', words: '550 no such user here' };
    expect(await post(dsn(first.token, report))).toBe('bounce');
    expect(await post(dsn(first.token, report))).toBe('ignored');
    expect(await list.reasonFor('words@example.com', false)).toBeUndefined();
    expect(await post(dsn(second.token, report))).toBe('bounce');
    expect(await list.reasonFor('words@example.com', false)).toBe('bounce');
  });

  test.each([
    ['is only delayed', 'delayed'],
    ['was relayed', 'relayed'],
  ])('is none when it %s', async (_, action) => {
    const { id, token } = await sent(`${action}@example.com`);
    expect(await post(dsn(token, { status: '4.0.0', action }))).toBe('ignored');
    expect((await jobOf(id)).result).not.toHaveProperty('bounce');
  });
});

test('a mail that is deferred tells its URL so, once, and of its end under another id', async () => {
  const { id } = (await rig.call<JobView>('/v1/emails', { json: mailTo(LATE) })).body;
  const detail = 'a: 451 4.7.1 Greylisted';
  const says = (attempt: number, words = detail): Promise<unknown> => {
    const message = create(EmailDeferredSchema, { jobId: id, attempt, detail: words, at: timestampNow() });
    return rig.bus.publish(channels.emailDeferred, message, { id: `${id}.deferred.${attempt}` });
  };
  await says(1);
  const told = () => calls.filter(({ job }) => job.id === id);
  await eventually(
    async () => told(),
    ({ length }) => length === 1,
  );
  expect(told()[0]?.job).toMatchObject({ state: 'queued', attempt: 1, deferred: { detail } });
  expect(await jobOf(id)).toMatchObject({ deferred: { detail } });
  await says(2, 'a: 452 again');
  // That it could not be noted again ends no job.
  await rig.bus.port.publish('dlq.RESULTS.email_deferred', new Uint8Array([1]), {
    id: `dead.${id}`,
    headers: { [DEAD_LETTER.messageId]: `${id}.deferred.2`, [DEAD_LETTER.reason]: 'exhausted' },
  });
  await eventually(
    () => rig.bus.jsm.consumers.info('DLQ', 'dead_letters'),
    (found) => found.num_pending + found.num_ack_pending === 0,
  );
  taken.resolve();
  await eventually(
    async () => told(),
    ({ length }) => length === 2,
  );
  const [deferral, end] = told();
  expect(end?.job).toMatchObject({ state: 'succeeded' });
  expect(end?.job).not.toHaveProperty('deferred');
  expect(end?.id).not.toBe(deferral?.id);
  const { body } = await rig.call<{ events: { event: string; detail?: string }[] }>(`/v1/jobs/${id}/events`);
  expect(body.events.filter(({ event }) => event === 'deferred')).toMatchObject([{ detail }]);
  // The worker has the mail: it is not published again.
  expect(body.events.filter(({ event }) => event === 'published')).toHaveLength(1);
  // Clients over NATS are told of ends alone.
  const states = await eventually(
    () => callbackStates(id),
    (found) => found.includes(JobState.SUCCEEDED),
  );
  expect(states).toEqual([JobState.SUCCEEDED]);
  // What is said of the webhook of a job is about the one of its end.
  expect(body.events.filter(({ event }) => event === 'webhook_delivered')).toHaveLength(1);
  // Said after the end, it changes nothing.
  await says(3);
  expect((await jobOf(id)).state).toBe('succeeded');
});

test('a report that comes before the result of its job counts when it comes again', async () => {
  const json = { to: EARLY, template: 'notification', variables: { message: 'hi' } };
  const { body } = await rig.call<JobView>('/v1/emails', { json });
  const report = dsn(bounceToken(body.id, SECRET) ?? '', { status: '5.1.1' });
  const call = { body: report, headers: { 'content-type': 'message/rfc822' } };
  expect((await rig.call('/v1/mail-reports', call)).status).toBe(409);
  recorded.resolve();
  const answer = await eventually(
    async () => rig.call<{ taken: string }>('/v1/mail-reports', call),
    ({ status }) => status === 202,
  );
  expect(answer.body.taken).toBe('bounce');
});

test('a complaint suppresses the reader and shows on the job', async () => {
  const { id, token } = await sent('annoyed@example.com');
  expect(await post(complaint(token))).toBe('complaint');
  expect(await list.reasonFor('annoyed@example.com', false)).toBe('complaint');
  expect((await jobOf(id)).result).toMatchObject({ complaint: true });
});

describe('a report that is made up', () => {
  const forged = `b-${'a'.repeat(26)}-${'b'.repeat(16)}`;

  test('is not taken over SMTP, and changes nothing over HTTP', async () => {
    const { id, token } = await sent('victim@example.com');
    const wrong = `${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}`;
    for (const made of [forged, wrong, 'postmaster', 'victim']) {
      expect((await deliver(`${made}@bounces.example.com`, dsn(made, { status: '5.1.1' }))).at(-1)).toMatch(
        /^550 5\.1\.1/,
      );
      expect(await post(dsn(made, { status: '5.1.1', words: '550 5.1.1 <victim@example.com> unknown' }))).toBe(
        'ignored',
      );
      expect(await post(complaint(made))).toBe('ignored');
    }
    expect(await post(dsn(token, { status: '5.1.1' }), `${wrong}@bounces.example.com`)).toBe('ignored');
    expect(await list.find('victim@example.com')).toEqual([]);
    expect((await jobOf(id)).result).not.toHaveProperty('bounce');
  });

  test('is no report when it is a mail that a person wrote, or no mail', async () => {
    const { token } = await sent('person@example.com');
    for (const body of [
      `To: ${token}@b.example\r\n\r\nStatus: 5.1.1\r\nAction: failed\r\n`,
      token,
      '\0'.repeat(1_000),
    ]) {
      expect(await post(body)).toBe('ignored');
    }
    expect(await list.find('person@example.com')).toEqual([]);
  });

  // By the square of its length a megabyte would keep the gateway for hours.
  test.each([
    ['spaces', `550 x${' '.repeat(900_000)}y`],
    ['words without an address', `550 ${'a.'.repeat(450_000)}`],
    ['short lines', `550 x${'\r\n y'.repeat(200_000)}`],
  ])('does not keep the gateway busy with %s', async (name, words) => {
    const { token } = await sent(`busy-${name.length}@example.com`);
    expect(await post(dsn(token, { status: '5.0.0', words }))).toBe('bounce');
  });

  test('is read in its first 128 KiB: the mail that it brings back may be longer', async () => {
    const [first, second] = [await sent('long1@example.com'), await sent('long2@example.com')];
    const long = 'what came back\r\n'.repeat(30_000);
    const report = dsn(first.token, { status: '5.1.1' });
    expect(await post(report.replace('Subject: hi\r\n\r\n', `Subject: hi\r\n\r\n${long}`))).toBe('bounce');
    const late = dsn(second.token, { status: '5.1.1' });
    expect(await post(late.replace('I could not deliver your message.', long))).toBe('ignored');
  });

  test('is bounded in size', async () => {
    const answer = await rig.call('/v1/mail-reports', {
      body: 'x'.repeat(1024 * 1024 + 1),
      headers: { 'content-type': 'message/rfc822' },
    });
    expect(answer.status).toBe(413);
    const { token } = await sent('large@example.com');
    const replies = await deliver(`${token}@b.example`, `${'x'.repeat(70)}\r\n`.repeat(16_000));
    expect(replies.at(-1)).toMatch(/^552/);
  });
});
