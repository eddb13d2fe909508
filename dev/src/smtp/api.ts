import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Attachment, Email } from 'postal-mime';
import { blindCopies, mailAddresses, parseMail, type Mailbox, type StoredMail } from './mailbox.ts';
import { mailMatcher } from './search.ts';
import { viewerPage } from './viewer.ts';

const DEFAULT_LIMIT = 50;
const MAX_BODY_BYTES = 1024 * 1024;

/** A mail's HTML may run nothing and load nothing from outside but pictures. */
const MAIL_POLICY =
  "sandbox; default-src 'none'; img-src 'self' data: https:; style-src 'unsafe-inline'; font-src data:";

function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function sendText(response: ServerResponse, text: string, status = 200): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

function bytesOf(attachment: Attachment): Buffer {
  const { content } = attachment;
  if (typeof content === 'string') return Buffer.from(content);
  return Buffer.from(content instanceof ArrayBuffer ? new Uint8Array(content) : content);
}

function textOf(email: Email): string {
  return email.text ?? (email.html ?? '').replace(/<style[\s\S]*?<\/style>|<[^>]*>/g, ' ');
}

const isInline = ({ related, disposition }: Attachment): boolean => related === true || disposition === 'inline';

async function summary(mailbox: Mailbox, mail: StoredMail): Promise<object> {
  const email = await parseMail(await mailbox.raw(mail));
  return {
    ID: mail.id,
    MessageID: mail.messageId,
    Read: false,
    From: mail.from,
    To: mail.to,
    Cc: mail.cc,
    Bcc: blindCopies(mail),
    ReplyTo: mail.replyTo,
    Subject: mail.subject,
    Created: mail.received,
    Size: mail.sizeBytes,
    // As Mailpit counts: pictures of the text are none.
    Attachments: email.attachments.filter((attachment) => !isInline(attachment)).length,
    Snippet: textOf(email).replace(/\s+/g, ' ').trim().slice(0, 250),
  };
}

async function listMails(
  mailbox: Mailbox,
  query: URLSearchParams,
  fits: (mail: StoredMail) => boolean,
): Promise<object> {
  const start = Math.max(0, Number(query.get('start') ?? 0) || 0);
  const limit = Math.max(0, Number(query.get('limit') ?? DEFAULT_LIMIT) || 0);
  const found = mailbox.all().filter(fits).toReversed();
  const messages = [];
  for (const mail of found.slice(start, start + limit)) messages.push(await summary(mailbox, mail));
  const total = mailbox.all().length;
  return { total, unread: total, count: messages.length, messages_count: found.length, start, tags: [], messages };
}

function attachmentDetail(attachment: Attachment, index: number): object {
  return {
    PartID: String(index + 1),
    FileName: attachment.filename ?? `part-${index + 1}`,
    ContentType: attachment.mimeType,
    ContentID: (attachment.contentId ?? '').replace(/^<|>$/g, ''),
    Size: bytesOf(attachment).length,
  };
}

function detail(mail: StoredMail, email: Email): object {
  const parts = email.attachments.map((attachment, i) => ({ attachment, detail: attachmentDetail(attachment, i) }));
  return {
    ID: mail.id,
    MessageID: mail.messageId,
    From: mail.from,
    To: mail.to,
    Cc: mail.cc,
    Bcc: blindCopies(mail),
    ReplyTo: mailAddresses(email.replyTo),
    ReturnPath: mail.envelopeFrom,
    Subject: mail.subject,
    Date: email.date ?? mail.received,
    Text: email.text ?? '',
    HTML: email.html ?? '',
    Size: mail.sizeBytes,
    Inline: parts.filter((part) => isInline(part.attachment)).map((part) => part.detail),
    Attachments: parts.filter((part) => !isInline(part.attachment)).map((part) => part.detail),
  };
}

function headerFields(email: Email): Record<string, string[]> {
  const fields: Record<string, string[]> = {};
  for (const { originalKey, value } of email.headers) (fields[originalKey] ??= []).push(value);
  return fields;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** The mail as a browser shows it, with pictures that came along pointing at their parts. */
function viewHtml(mail: StoredMail, email: Email): string {
  const html = email.html ?? `<pre style="white-space:pre-wrap;font:inherit">${escapeHtml(email.text ?? '')}</pre>`;
  return html.replace(/\bcid:([^"'\s)>]+)/gi, (whole, contentId: string) => {
    const index = email.attachments.findIndex((one) => one.contentId === `<${decodeURIComponent(contentId)}>`);
    return index < 0 ? whole : `../api/v1/message/${mail.id}/part/${index + 1}`;
  });
}

function sendView(response: ServerResponse, mail: StoredMail, email: Email, extension: string): void {
  if (extension === 'txt') return sendText(response, textOf(email));
  const headers = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': MAIL_POLICY };
  response.writeHead(200, headers).end(viewHtml(mail, email));
}

function sendPart(response: ServerResponse, email: Email, partId: string): void {
  const attachment = email.attachments[Number(partId) - 1];
  if (!attachment) return sendText(response, 'no such part', 404);
  const name = encodeURIComponent(attachment.filename ?? 'part');
  response.writeHead(200, {
    'content-type': attachment.mimeType,
    'content-disposition': `inline; filename*=utf-8''${name}`,
    'content-security-policy': 'sandbox',
    'x-content-type-options': 'nosniff',
  });
  response.end(bytesOf(attachment));
}

async function messageRequest(mailbox: Mailbox, response: ServerResponse, path: readonly string[]): Promise<void> {
  const [id = '', what = '', part = ''] = path;
  const mail = mailbox.find(id);
  if (!mail) return sendText(response, 'no such message', 404);
  const raw = await mailbox.raw(mail);
  if (what === 'raw') return void response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(raw);
  const email = await parseMail(raw);
  if (what === '') return sendJson(response, detail(mail, email));
  if (what === 'headers') return sendJson(response, headerFields(email));
  if (what === 'part') return sendPart(response, email, part);
  sendText(response, 'not found', 404);
}

async function deletion(mailbox: Mailbox, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = '';
  for await (const chunk of request) {
    body += (chunk as Buffer).toString();
    if (body.length > MAX_BODY_BYTES) return sendText(response, 'body too large', 413);
  }
  const { IDs = [] } = (body === '' ? {} : JSON.parse(body)) as { IDs?: string[] };
  await mailbox.remove(IDs.length === 0 ? mailbox.all() : mailbox.all().filter((mail) => IDs.includes(mail.id)));
  sendText(response, 'ok');
}

/** The HTTP side of the sink: Mailpit's paths and shapes for programs, a page for people. */
export async function handleMailRequest(
  mailbox: Mailbox,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://sink');
  const path = url.pathname.split('/').filter((segment) => segment !== '');
  const { searchParams: query } = url;
  const route = path.slice(0, 3).join('/');
  const deleting = request.method === 'DELETE';
  if (route === 'api/v1/messages') {
    if (deleting) return await deletion(mailbox, request, response);
    return sendJson(response, await listMails(mailbox, query, () => true));
  }
  if (route === 'api/v1/search') {
    const fits = mailMatcher(query.get('query') ?? '');
    if (!deleting) return sendJson(response, await listMails(mailbox, query, fits));
    await mailbox.remove(mailbox.all().filter(fits));
    return sendText(response, 'ok');
  }
  if (route === 'api/v1/message') return await messageRequest(mailbox, response, path.slice(3));
  if (path[0] === 'view') {
    const [, id = '', extension = ''] = /^(.+)\.(html|txt)$/.exec(path[1] ?? '') ?? [];
    const mail = mailbox.find(id);
    if (!mail) return sendText(response, 'no such message', 404);
    return sendView(response, mail, await parseMail(await mailbox.raw(mail)), extension);
  }
  if (path[0] === 'readyz' || path[0] === 'livez') return sendText(response, 'ok');
  if (path.length > 0) return sendText(response, 'not found', 404);
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(viewerPage);
}
