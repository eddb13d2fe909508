import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { channels } from '@sluice/contracts';
import { startS3, startScriptedSmtp, type S3Server, type ScriptedSmtp } from '@sluice/dev';
import { createStore, type ObjectStore } from '@sluice/storage';
import PostalMime from 'postal-mime';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newJobId } from '@sluice/jobs';
import { openTemplates, type TemplateDefinition } from '@sluice/mail-templates';
import { compileTemplate } from '@sluice/mail-templates/compile';
import { readBounceToken, unsubscribeToken } from '@sluice/suppression';
import { fastBreaker, startBroker, type Broker, type EmailProcess } from './email-run.ts';

let broker: Broker;
let smtp: ScriptedSmtp;
let s3: S3Server;
const directory = mkdtempSync(join(tmpdir(), 'sluice-email-'));
let store: ObjectStore;
let email: EmailProcess;
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

beforeAll(async () => {
  [broker, smtp, s3] = await Promise.all([startBroker(), startScriptedSmtp(), startS3({ directory })]);
  const { url: endpoint, accessKeyId, secretAccessKey, region } = s3;
  store = createStore({ endpoint, region, bucket: 'sluice', accessKeyId, secretAccessKey });
  await store.ensureBucket();
  // No hour ends in the middle of a quota.
  const now = new Date();
  email = await broker.email(smtp.url, {
    tuning: { ...fastBreaker, now: () => now },
    env: {
      S3_ENDPOINT: endpoint,
      S3_REGION: region,
      S3_ACCESS_KEY_ID: accessKeyId,
      S3_SECRET_ACCESS_KEY: secretAccessKey,
      DKIM_DOMAIN: 'sluice.example',
      DKIM_SELECTOR: 'mail',
      DKIM_PRIVATE_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      UNSUBSCRIBE_ADDRESS: 'unsubscribe@sluice.example',
      UNSUBSCRIBE_URL: 'https://sluice.example/unsubscribe?t={token}',
      UNSUBSCRIBE_SECRET: 'a secret of some length',
      SENDERS: JSON.stringify([
        {
          account: 'own-sender',
          address: 'hello@brand.example',
          name: 'Brand & Co',
          dkim: {
            domain: 'brand.example',
            selector: 'brand',
            privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
          },
        },
      ]),
      BOUNCE_DOMAIN: 'bounces.sluice.example',
      BOUNCE_SECRET: 'another secret of some length',
      QUOTA_PER_RECIPIENT_PER_HOUR: '5',
      QUOTA_PER_ACCOUNT_PER_DAY: '1000',
      ATTACH_MAX_BYTES: '50000',
    },
  });
});
afterEach(() => smtp.play());
afterAll(async () => {
  await email?.stop();
  store?.close();
  await Promise.all([smtp?.close(), s3?.close(), broker?.close()]);
  rmSync(directory, { recursive: true, force: true });
});

const mailsTo = (address: string) => smtp.mails.filter(({ to }) => to.includes(address));
const parsed = async (address: string) => PostalMime.parse(mailsTo(address)[0]?.data ?? '');
const header = (mail: Awaited<ReturnType<typeof parsed>>, name: string) =>
  mail.headers.find(({ key }) => key === name)?.value;

describe('a mail', () => {
  test('is sent, and its result names the provider and the Message-ID', async () => {
    await broker.ask({ jobId: 'job_ok', to: 'ada@example.com' });
    const { result } = await broker.ended('job_ok');
    expect(result?.outcome).toMatchObject({
      case: 'succeeded',
      value: { provider: 'a', messageId: '<job_ok.0@sluice.example>', attempts: 1, ambiguous: false },
    });
    const mail = await parsed('ada@example.com');
    expect(mail).toMatchObject({
      from: { name: 'Sluice', address: 'no-reply@sluice.example' },
      to: [{ name: '', address: 'ada@example.com' }],
      subject: 'Welcome to Sluice, Ada',
      messageId: '<job_ok.0@sluice.example>',
    });
    expect(mail.text).toMatch(/^Welcome, Ada/);
    expect(mail.html).toContain('src="cid:logo@sluice"');
    expect(mail.attachments).toMatchObject([
      { disposition: 'inline', contentId: '<logo@sluice>', mimeType: 'image/png' },
    ]);
    expect(header(mail, 'auto-submitted')).toBe('auto-generated');
  });

  test('is signed over the body that arrives', async () => {
    await broker.ask({ jobId: 'job_dkim', to: 'dkim@example.com' });
    await broker.ended('job_dkim');
    const signature = header(await parsed('dkim@example.com'), 'dkim-signature') ?? '';
    expect(signature).toMatch(/d=sluice\.example;.*s=mail;.*b=/s);
    // RFC 6376 3.4.4: runs of white space are one space, none at the end of a line, no empty lines at the end.
    const body = (mailsTo('dkim@example.com')[0]?.data ?? '').replace(/^[\s\S]*?\r\n\r\n/, '');
    const relaxed = `${body
      .replace(/[ \t]+/g, ' ')
      .replace(/ \r\n/g, '\r\n')
      .replace(/(\r\n)*$/, '')}\r\n`;
    const hash = createHash('sha256').update(relaxed, 'latin1').digest('base64');
    expect(signature.replace(/\s/g, '')).toContain(`bh=${hash};`);
  });

  test('comes from the express lane too', async () => {
    await broker.ask({ jobId: 'job_fast', to: 'fast@example.com', express: true });
    expect((await broker.ended('job_fast')).result?.outcome.case).toBe('succeeded');
  });

  test('that recurs can be unsubscribed from, in the header and in the mail; a welcome cannot', async () => {
    const to = 'list@example.com';
    await broker.ask({ jobId: 'job_list', to, template: 'notification', variables: { message: 'Hello' } });
    await broker.ended('job_list');
    const url = `https://sluice.example/unsubscribe?t=${unsubscribeToken(to, 'a secret of some length')}`;
    const mail = await parsed(to);
    expect(header(mail, 'list-unsubscribe')).toBe(`<${url}>, <mailto:unsubscribe@sluice.example?subject=unsubscribe>`);
    expect(header(mail, 'list-unsubscribe-post')).toBe('List-Unsubscribe=One-Click');
    expect(mail.text).toContain(url);
    expect(header(await parsed('ada@example.com'), 'list-unsubscribe')).toBeUndefined();
  });

  test('goes over few connections, however many there are', async () => {
    const before = smtp.connections;
    const jobs = Array.from({ length: 200 }, (_, n) => `job_many_${n}`);
    await Promise.all(jobs.map((jobId) => broker.ask({ jobId, to: `${jobId}@example.com` })));
    await Promise.all(jobs.map((jobId) => broker.ended(jobId)));
    expect(smtp.mails.filter(({ to }) => to[0]?.startsWith('job_many_'))).toHaveLength(200);
    expect(smtp.connections - before).toBeLessThanOrEqual(32);
  });
});

test('a mail that its server defers is told of, with the words of the server and without addresses', async () => {
  let replies = 0;
  smtp.play({
    decide: (stage) =>
      stage === 'rcpt' && ++replies === 1
        ? { kind: 'reply', code: 451, text: '4.7.1 <later@example.com> greylisted' }
        : undefined,
  });
  await broker.ask({ jobId: 'job_deferred', to: 'later@example.com' });
  expect((await broker.ended('job_deferred')).result?.outcome.case).toBe('succeeded');
  expect((await broker.bus.last(channels.emailDeferred, {}))?.data).toMatchObject({
    jobId: 'job_deferred',
    attempt: 1,
    detail: 'a: 451 4.7.1 <[address]> greylisted',
  });
});

describe('a message that comes twice', () => {
  test('is one mail, and both times the same result', async () => {
    await broker.ask({ jobId: 'job_twice', to: 'twice@example.com' });
    const { result } = await broker.ended('job_twice');
    const seen = broker.results.length;
    await broker.ask({ jobId: 'job_twice', to: 'twice@example.com', messageId: 'job_twice.work.again' });
    await broker.ask({ jobId: 'job_marker', to: 'marker@example.com' });
    await broker.ended('job_marker');
    await expect.poll(async () => /email_repeats_avoided_total.* 1$/m.test(await email.metrics())).toBe(true);
    expect(mailsTo('twice@example.com')).toHaveLength(1);
    // The repeated result carries the id of the first: the stream knows it, and its reader sees it once.
    const repeats = broker.results.slice(seen).filter(({ jobId }) => jobId === 'job_twice');
    expect(repeats.every((repeat) => repeat.outcome.value === result?.outcome.value)).toBe(true);
  });

  test('as an operator’s replay is a mail of its own', async () => {
    await broker.ask({ jobId: 'job_replay', to: 'replay@example.com' });
    await broker.ended('job_replay');
    await broker.ask({ jobId: 'job_replay', to: 'replay@example.com', replays: 1 });
    await expect.poll(() => mailsTo('replay@example.com').length).toBe(2);
    const ids = mailsTo('replay@example.com').map(({ data }) => /^Message-ID: (.*)\r$/m.exec(data)?.[1]);
    expect(ids).toEqual(['<job_replay.0@sluice.example>', '<job_replay.1@sluice.example>']);
  });
});

describe('a request that cannot become a mail', () => {
  const failure = async (jobId: string) => (await broker.ended(jobId)).result?.outcome;

  test.each([
    ['a recipient that is a list', 'invalid_address', { to: 'a@example.com,b@example.com' }],
    ['an unknown template', 'unknown_template', { to: 'x@example.com', template: 'spam' }],
    ['a variable that is missing', 'invalid_variables', { to: 'x@example.com', variables: {} }],
    [
      'a PDF that is gone',
      'attachment_missing',
      { to: 'x@example.com', template: 'image-ready', attachmentKey: 'pdf/gone.pdf' },
    ],
    [
      'a file that is no PDF of ours',
      'attachment_missing',
      { to: 'x@example.com', template: 'image-ready', attachmentKey: 'uploads/1/0' },
    ],
  ])('for %s fails at once with %s', async (_, code, asked) => {
    const jobId = `job_bad_${code}_${asked.to.length}_${'attachmentKey' in asked ? asked.attachmentKey.length : 0}`;
    await broker.ask({ jobId, ...asked });
    expect(await failure(jobId)).toMatchObject({ case: 'failed', value: { code } });
    expect((await broker.ended(jobId)).result?.attempt).toBe(1);
  });

  test('to a mailbox that bounced before is not tried again', async () => {
    smtp.play({ rcpt: [{ kind: 'reply', code: 550, text: '5.1.1 no such user here' }] });
    await broker.ask({ jobId: 'job_bounce', to: 'gone@example.com' });
    expect(await failure('job_bounce')).toMatchObject({
      value: { code: 'mail_rejected', detail: 'a: 550 5.1.1 no such user here' },
    });
    await broker.ask({ jobId: 'job_bounce_2', to: 'Gone@example.com' });
    expect(await failure('job_bounce_2')).toMatchObject({ value: { code: 'recipient_suppressed' } });
    expect(mailsTo('Gone@example.com')).toEqual([]);
  });

  test('refused for its content does not suppress the recipient', async () => {
    smtp.play({ body: [{ kind: 'reply', code: 554, text: '5.7.1 looks like spam' }] });
    await broker.ask({ jobId: 'job_spam', to: 'fine@example.com' });
    expect(await failure('job_spam')).toMatchObject({ value: { code: 'mail_rejected' } });
    await broker.ask({ jobId: 'job_spam_2', to: 'fine@example.com' });
    expect(await failure('job_spam_2')).toMatchObject({ case: 'succeeded' });
  });

  test('over the hourly quota of its recipient is refused, and counted', async () => {
    const jobs = Array.from({ length: 7 }, (_, n) => `job_quota_${n}`);
    for (const jobId of jobs) await broker.ask({ jobId, to: 'popular@example.com' });
    const ends = await Promise.all(jobs.map((jobId) => failure(jobId)));
    expect(ends.filter((end) => end?.case === 'succeeded')).toHaveLength(5);
    expect(ends.filter((end) => end?.case === 'failed' && end.value.code === 'quota_exceeded')).toHaveLength(2);
    expect(mailsTo('popular@example.com')).toHaveLength(5);
  });
});

describe('a reply address and headers of a caller', () => {
  test('stand in the mail, and in its signature', async () => {
    const to = 'headers@example.com';
    const headers = { 'X-Campaign': 'spring:7', References: '<a@example.com> <b@example.com>' };
    await broker.ask({ jobId: 'job_headers', to, replyTo: 'support@Example.com', headers });
    await broker.ended('job_headers');
    const mail = await parsed(to);
    expect(mail.replyTo).toEqual([{ name: '', address: 'support@example.com' }]);
    expect(header(mail, 'x-campaign')).toBe('spring:7');
    expect(header(mail, 'references')).toBe('<a@example.com> <b@example.com>');
    expect(header(mail, 'dkim-signature')?.toLowerCase()).toMatch(/h=[^;]*reply-to/s);
  });

  test.each([
    ['invalid_address', { replyTo: 'a@example.com\r\nBcc: evil@example.com' }],
    ['invalid_headers', { headers: { Bcc: 'evil@example.com' } }],
    ['invalid_headers', { headers: { 'X-Campaign': 'b\r\nBcc: evil@example.com' } }],
    ['invalid_headers', { headers: { 'X-SMTPAPI': '{"to": ["evil@example.com"]}' } }],
    ['invalid_headers', { headers: { 'X-Campaign': `b${' '.repeat(200)}Bcc: evil@example.com` } }],
    ['invalid_headers', { headers: Object.fromEntries(Array.from({ length: 11 }, (_, n) => [`X-Custom-${n}`, 'v'])) }],
  ])('that could do more fail with %s', async (code, more) => {
    const jobId = `job_${code}_${JSON.stringify(more).length}`;
    await broker.ask({ jobId, to: `${jobId}@example.com`, ...more });
    expect((await broker.ended(jobId)).result?.outcome).toMatchObject({ case: 'failed', value: { code } });
    expect(mailsTo(`${jobId}@example.com`)).toEqual([]);
  });
});

describe('a variable that is the service’s to set', () => {
  test('is not taken from a caller', async () => {
    const lies = { attached: true, expires: 'never', facts: '99 pages' };
    await broker.ask({
      jobId: 'job_lies',
      to: 'lies@example.com',
      template: 'image-ready',
      variables: { link: 'https://sluice.example/x', jobId: 'J', ...lies },
    });
    await broker.ended('job_lies');
    expect((await parsed('lies@example.com')).text).not.toMatch(/attached|never|99 pages/);

    await broker.ask({
      jobId: 'job_lies_2',
      to: 'lies2@example.com',
      template: 'notification',
      variables: { message: 'm', unsubscribeUrl: 'https://elsewhere.example/x' },
    });
    await broker.ended('job_lies_2');
    expect((await parsed('lies2@example.com')).text).not.toContain('elsewhere.example');
  });
});

describe('the size of a mail', () => {
  const ehlo = (size: number) => ({ kind: 'bytes', bytes: `250-scripted.test\r\n250 SIZE ${size}\r\n` }) as const;
  // SIZE is read when a session begins.
  const newSessions = async (): Promise<void> => {
    await smtp.refuse();
    await smtp.accept();
  };

  test('is declared, so that a server can refuse it before it is sent', async () => {
    await newSessions();
    smtp.play({ ehlo: ehlo(50_000_000) });
    await broker.ask({ jobId: 'job_size', to: 'size@example.com' });
    await broker.ended('job_size');
    const [mail] = mailsTo('size@example.com');
    expect(mail?.size).toBe(Buffer.byteLength(mail?.data ?? '', 'latin1'));
  });

  test('above what the server takes fails the mail before it is sent', async () => {
    await newSessions();
    smtp.play({ ehlo: ehlo(5_000) });
    await broker.ask({ jobId: 'job_size_2', to: 'size2@example.com' });
    const { result } = await broker.ended('job_size_2');
    expect(result?.outcome).toMatchObject({ case: 'failed', value: { code: 'mail_too_large' } });
    expect(mailsTo('size2@example.com')).toEqual([]);
    await newSessions();
  });
});

describe('a mail about a finished PDF', () => {
  const key = 'pdf/job_img.pdf';
  const pdf = Buffer.concat([Buffer.from('%PDF-1.7\n'), randomBytes(40_000)]);
  beforeAll(() => store.put(key, pdf, { contentType: 'application/pdf' }));

  test('links to it, and the link gives the document', async () => {
    await broker.ask({
      jobId: 'job_pdf',
      to: 'pdf@example.com',
      template: 'image-ready',
      attachmentKey: key,
      variables: { pages: 3 },
    });
    await broker.ended('job_pdf');
    const mail = await parsed('pdf@example.com');
    expect(mail.text).toContain('3 pages, 40 KB');
    expect(mail.attachments.map(({ mimeType }) => mimeType)).toEqual(['image/png']);
    const link = /https?:\/\/\S+/.exec(mail.text ?? '')?.[0] ?? '';
    const answer = await fetch(link);
    expect(answer.status).toBe(200);
    expect(Buffer.from(await answer.arrayBuffer()).equals(pdf)).toBe(true);
  });

  test('carries it when asked to', async () => {
    await broker.ask({
      jobId: 'job_att',
      to: 'att@example.com',
      template: 'image-ready',
      attachmentKey: key,
      variables: { attach: true },
    });
    await broker.ended('job_att');
    const mail = await parsed('att@example.com');
    const attached = mail.attachments.find(({ mimeType }) => mimeType === 'application/pdf');
    expect(attached?.filename).toBe('job_img.pdf');
    expect(Buffer.from(attached?.content as ArrayBuffer).equals(pdf)).toBe(true);
    expect(mail.text).toContain('It is attached to this mail.');
  });

  test('only links to it when it is large', async () => {
    await store.put('pdf/large.pdf', Buffer.alloc(60_000), { contentType: 'application/pdf' });
    await broker.ask({
      jobId: 'job_large',
      to: 'large@example.com',
      template: 'image-ready',
      attachmentKey: 'pdf/large.pdf',
      variables: { attach: true },
    });
    await broker.ended('job_large');
    const mail = await parsed('large@example.com');
    expect(mail.attachments.some(({ mimeType }) => mimeType === 'application/pdf')).toBe(false);
    expect(mail.text).not.toContain('attached');
  });
});

test('a mail is returned to an address of its own, which names its job and is signed', async () => {
  const jobId = newJobId();
  await broker.ask({ jobId, to: 'returned@example.com' });
  await broker.ended(jobId);
  const [mail] = mailsTo('returned@example.com');
  expect(mail?.from).toMatch(/@bounces\.sluice\.example$/);
  expect(readBounceToken(mail?.from ?? '', 'another secret of some length')).toEqual({ jobId, copy: 0 });
  const read = await parsed('returned@example.com');
  expect(read.from?.address).toBe('no-reply@sluice.example');
  expect(readBounceToken(header(read, 'x-sluice-report') ?? '', 'another secret of some length')).toEqual({
    jobId,
    copy: 0,
  });
  expect(header(read, 'dkim-signature')?.toLowerCase()).toContain('x-sluice-report');
});

test('a mail of an account with a sender of its own comes from it, signed for its domain', async () => {
  await broker.ask({ jobId: 'job_brand', to: 'brand@example.com', account: 'own-sender' });
  expect((await broker.ended('job_brand')).result?.outcome.case).toBe('succeeded');
  const mail = await parsed('brand@example.com');
  expect(mail.from).toMatchObject({ address: 'hello@brand.example', name: 'Brand & Co' });
  expect(header(mail, 'dkim-signature')).toMatch(/d=brand\.example;.*s=brand;|s=brand;.*d=brand\.example;/s);
});

describe('a mail with files of its caller', () => {
  const upload = 'attachments/0123456789abcdef/upl_aaaaaaaaaaaaaaaaaaaaaaaaaa';
  const content = Buffer.from('Größe;1\r\n'.repeat(50));
  const file = { key: upload, fileName: 'Größen 2026.csv', contentType: 'text/csv', sizeBytes: BigInt(content.length) };
  beforeAll(() => store.put(upload, content, { contentType: 'text/csv' }));

  test('carries them under their names', async () => {
    await broker.ask({
      jobId: 'job_files',
      to: 'files@example.com',
      attachments: [file, { ...file, fileName: 'b.csv' }],
    });
    expect((await broker.ended('job_files')).result?.outcome.case).toBe('succeeded');
    const mail = await parsed('files@example.com');
    expect(mailsTo('files@example.com')[0]?.data).toMatch(/^[\r\n\t -~]*$/);
    const files = mail.attachments.filter(({ disposition }) => disposition === 'attachment');
    expect(files.map(({ filename }) => filename)).toEqual(['Größen 2026.csv', 'b.csv']);
    expect(Buffer.from(files[0]?.content as ArrayBuffer).equals(content)).toBe(true);
  });

  test.each([
    ['is gone', { ...file, key: 'attachments/0123456789abcdef/upl_bbbbbbbbbbbbbbbbbbbbbbbbbb' }],
    ['is an upload for a picture', { ...file, key: 'uploads/job_x/0123456789abcdef-0' }],
    ['is of a kind that runs', { ...file, contentType: 'text/html', fileName: 'a.html' }],
    ['has a header in its name', { ...file, fileName: 'a\r\nBcc: eve@example.com\r\n.csv' }],
    ['is too large', { ...file, sizeBytes: 5_000_001n }],
  ])('fails when one %s', async (name, attachment) => {
    const jobId = `job_file_${name.replaceAll(' ', '_')}`;
    await broker.ask({ jobId, to: 'nofile@example.com', attachments: [attachment] });
    const { result } = await broker.ended(jobId);
    expect(result?.outcome).toMatchObject({ case: 'failed', value: { code: 'attachment_missing' } });
    expect(mailsTo('nofile@example.com')).toEqual([]);
  });
});

describe('a mail of a template that its account wrote', () => {
  const definition: TemplateDefinition = {
    subject: 'Bestellung {{number}}',
    html: '<p>Grüße, {{name}} = {{number}}</p><a href="{{link}}">Look</a><a href="{{unsubscribeUrl}}">No more</a>',
    text: 'Grüße, {{name}}: {{link}}',
    variables: {
      name: { kind: 'line', required: true },
      number: { kind: 'line' },
      link: { kind: 'link', required: true },
    },
    recurring: true,
    locales: { en: { subject: 'Order {{number}}', html: '<p>Hello {{name}}</p>', text: 'Hello {{name}}' } },
  };
  const variables = { name: '<b>Ada</b>', number: '7', link: 'https://example.com/?a=1&b=2' };
  let version: number;
  beforeAll(async () => {
    const result = compileTemplate(definition);
    if ('problems' in result) throw new Error(JSON.stringify(result.problems));
    ({ version } = await (await openTemplates(broker.bus.nc)).add('acme', { name: 'order', definition, ...result }));
  });
  const ask = async (jobId: string, to: string, more: object = {}) => {
    await broker.ask({ jobId, to, template: 'order', templateVersion: version, variables, ...more });
    return (await broker.ended(jobId)).result?.outcome;
  };

  test('is filled, escaped and signed, and can be unsubscribed from', async () => {
    expect((await ask('job_own_1', 'own@example.com'))?.case).toBe('succeeded');
    const mail = await parsed('own@example.com');
    expect(mail.subject).toBe('Bestellung 7');
    expect(mail.html).toContain('<p>Grüße, &lt;b&gt;Ada&lt;/b&gt; = 7</p><a href="https://example.com/?a=1&amp;b=2">');
    expect(mail.html).toMatch(/<a href="https:\/\/sluice\.example\/unsubscribe\?t=[^"]+">No more<\/a>/);
    expect(mail.text?.trim()).toBe('Grüße, <b>Ada</b>: https://example.com/?a=1&b=2');
    expect(mail.attachments).toEqual([]);
    expect(header(mail, 'list-unsubscribe-post')).toBe('List-Unsubscribe=One-Click');
  });

  test('is written in the language that was asked for, where the template has it', async () => {
    await ask('job_own_2', 'own2@example.com', { locale: 'en-GB' });
    const mail = await parsed('own2@example.com');
    expect(mail).toMatchObject({ subject: 'Order 7', html: expect.stringContaining('Hello &lt;b&gt;') as string });
    expect(header(mail, 'content-language')).toBe('en');
  });

  test.each([
    ['there is no such version', { templateVersion: 99 }, 'unknown_template'],
    ['it is of another account', { account: 'other' }, 'unknown_template'],
    ['a variable is missing', { variables: { name: 'Ada' } }, 'invalid_variables'],
  ])('fails when %s', async (_, more, code) => {
    const outcome = await ask(`job_own_${JSON.stringify(more).length}`, 'own3@example.com', more);
    expect(outcome).toMatchObject({ case: 'failed', value: { code } });
  });
});
