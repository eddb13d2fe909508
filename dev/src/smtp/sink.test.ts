import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTransport, type SendMailOptions } from 'nodemailer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSmtpSink, type SmtpSink, type StartSmtpSinkOptions } from './sink.ts';

interface Summary {
  ID: string;
  Subject: string;
  From: { Address: string };
  To: { Name: string; Address: string }[];
  Bcc: { Address: string }[];
  Attachments: number;
  Snippet: string;
}
interface Listing {
  total: number;
  messages_count: number;
  messages: Summary[];
}
interface Detail {
  Text: string;
  HTML: string;
  Attachments: { PartID: string; FileName: string; ContentType: string; Size: number }[];
  Inline: { PartID: string; ContentID: string }[];
}

let sink: SmtpSink;
const started: SmtpSink[] = [];
async function start(options: StartSmtpSinkOptions = {}): Promise<SmtpSink> {
  const one = await startSmtpSink(options);
  started.push(one);
  return one;
}
beforeEach(async () => void (sink = await start()));
afterEach(async () => void (await Promise.all(started.splice(0).map((one) => one.close()))));

async function send(mail: SendMailOptions, to: SmtpSink = sink, options: object = {}): Promise<void> {
  const transport = createTransport({ host: '127.0.0.1', port: to.smtpPort, ...options });
  await transport.sendMail({ from: 'Sluice <hello@sluice.test>', ...mail });
  transport.close();
}
async function ask<T>(path: string): Promise<T> {
  return (await (await fetch(`${sink.url}${path}`)).json()) as T;
}
const find = async (query: string) =>
  (await ask<Listing>(`/api/v1/search?query=${encodeURIComponent(query)}`)).messages;

describe('the mail sink', () => {
  it('keeps what it is sent and lists the newest first', async () => {
    await send({ to: 'Ada <ada@example.com>', subject: 'First', text: 'one' });
    await send({ to: 'bob@example.com', bcc: 'hidden@example.com', subject: 'Grüße', text: 'two' });
    const { total, messages } = await ask<Listing>('/api/v1/messages');
    expect(total).toBe(2);
    expect(messages.map((mail) => mail.Subject)).toEqual(['Grüße', 'First']);
    expect(messages[0]?.Bcc).toEqual([{ Name: '', Address: 'hidden@example.com' }]);
    expect(messages[1]).toMatchObject({ Snippet: 'one', To: [{ Name: 'Ada', Address: 'ada@example.com' }] });
  });

  it('finds mails by recipient, sender, subject and word', async () => {
    await send({ to: 'ada@example.com', subject: 'Your PDF is ready', text: 'x' });
    await send({ to: 'bob@example.com', subject: 'Welcome', text: 'x' });
    expect(await find('to:ada@example.com')).toHaveLength(1);
    expect(await find('to:ADA subject:"pdf is"')).toHaveLength(1);
    expect(await find('to:ada subject:welcome')).toHaveLength(0);
    expect(await find('from:hello@sluice.test')).toHaveLength(2);
    expect(await find('welcome')).toHaveLength(1);
  });

  it('shows text, HTML, source, headers and attachments', async () => {
    const picture = Buffer.from('picture');
    await send({
      to: 'ada@example.com',
      subject: 'All of it',
      text: 'plain',
      html: '<h1>Hi</h1><img src="cid:logo@sluice">',
      attachments: [
        { filename: 'report.pdf', content: Buffer.from('%PDF-1.7') },
        { filename: 'logo.png', content: picture, cid: 'logo@sluice', contentDisposition: 'inline' },
      ],
    });
    const [mail] = await find('to:ada');
    const id = mail?.ID ?? '';
    expect(mail?.Attachments).toBe(1);
    const detail = await ask<Detail>(`/api/v1/message/${id}`);
    expect(detail.Text.trim()).toBe('plain');
    expect(detail.Attachments).toMatchObject([{ FileName: 'report.pdf', ContentType: 'application/pdf', Size: 8 }]);
    expect(detail.Inline).toMatchObject([{ ContentID: 'logo@sluice' }]);

    const view = await fetch(`${sink.url}/view/${id}.html`);
    expect(view.headers.get('content-security-policy')).toContain('sandbox');
    const html = await view.text();
    const address = /src="\.\.(\/api[^"]+)"/.exec(html)?.[1] ?? '';
    expect(await (await fetch(`${sink.url}${address}`)).text()).toBe('picture');

    expect(await (await fetch(`${sink.url}/view/${id}.txt`)).text()).toContain('plain');
    expect(await (await fetch(`${sink.url}/api/v1/message/${id}/raw`)).text()).toContain('Subject: All of it\r\n');
    expect(await ask<object>('/api/v1/message/latest/headers')).toMatchObject({ Subject: ['All of it'] });
  });

  it('shows a mail that has text only, with nothing of it taken as HTML', async () => {
    await send({ to: 'ada@example.com', subject: 'x', text: '<script>alert(1)</script>' });
    const html = await (await fetch(`${sink.url}/view/latest.html`)).text();
    expect(html).not.toContain('<script>');
  });

  it('deletes one, some by search, or all', async () => {
    for (const name of ['ada', 'bob', 'cyd', 'dan'])
      await send({ to: `${name}@example.com`, subject: name, text: 'x' });
    const [ada] = await find('to:ada');
    await fetch(`${sink.url}/api/v1/messages`, { method: 'DELETE', body: JSON.stringify({ IDs: [ada?.ID] }) });
    await fetch(`${sink.url}/api/v1/search?query=to:bob`, { method: 'DELETE' });
    expect((await ask<Listing>('/api/v1/messages')).messages.map((mail) => mail.Subject)).toEqual(['dan', 'cyd']);
    await fetch(`${sink.url}/api/v1/messages`, { method: 'DELETE' });
    expect((await ask<Listing>('/api/v1/messages')).total).toBe(0);
    expect((await fetch(`${sink.url}/api/v1/message/${ada?.ID}`)).status).toBe(404);
  });

  it('lets the oldest go when it is full', async () => {
    const small = await start({ maxMails: 2 });
    for (const subject of ['1', '2', '3']) await send({ to: 'a@example.com', subject, text: 'x' }, small);
    expect(small.mailbox.all().map((mail) => mail.subject)).toEqual(['2', '3']);
  });

  it('has the mails of a directory again after a restart', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sluice-mail-'));
    const first = await start({ directory });
    await send({ to: 'a@example.com', subject: 'kept', text: 'body' }, first);
    await first.close();
    const second = await start({ directory });
    const [mail] = second.mailbox.all();
    expect(mail?.subject).toBe('kept');
    expect(await (await fetch(`${second.url}/view/${mail?.id}.txt`)).text()).toContain('body');
    await rm(directory, { recursive: true });
  });

  it('refuses what is too big with 552', async () => {
    const strict = await start({ maxMailBytes: 1000 });
    const mail = send({ to: 'a@example.com', subject: 'big', text: 'x'.repeat(5000) }, strict);
    await expect(mail).rejects.toMatchObject({ responseCode: 552 });
    expect(strict.mailbox.all()).toEqual([]);
  });

  it('refuses recipients that do not exist with 550', async () => {
    const picky = await start({ refuse: (address) => address.startsWith('nobody') });
    const mail = send({ to: 'nobody@example.com', subject: 'x', text: 'x' }, picky);
    await expect(mail).rejects.toMatchObject({ responseCode: 550 });
    await send({ to: 'ada@example.com', subject: 'x', text: 'x' }, picky);
    expect(picky.mailbox.all().flatMap(({ envelopeTo }) => envelopeTo)).toEqual(['ada@example.com']);
  });

  it('refuses a wrong login with 535 and takes the right one over STARTTLS', async () => {
    const guarded = await start({ auth: { user: 'sluice', password: 'secret' }, startTls: true });
    const tls = { rejectUnauthorized: false };
    const login = (pass: string) => ({ requireTLS: true, tls, auth: { user: 'sluice', pass } });
    const mail = { to: 'a@example.com', subject: 'x', text: 'x' };
    await expect(send(mail, guarded, login('wrong'))).rejects.toMatchObject({ responseCode: 535 });
    await send(mail, guarded, login('secret'));
    expect(guarded.mailbox.all()).toHaveLength(1);
  });

  it('has a page for people', async () => {
    const page = await (await fetch(sink.url)).text();
    expect(page).toContain('<title>Mail</title>');
  });
});
