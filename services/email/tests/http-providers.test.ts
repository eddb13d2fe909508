// Providers over HTTP against a real HTTP server that plays them by their public references.
import { createHash, createHmac, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { startScriptedSmtp } from '@sluice/dev';
import PostalMime from 'postal-mime';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { composeMail, type MailInput, type Sender } from '../src/compose/compose-mail.ts';
import { defaultTimeouts, type MailTransport } from '../src/providers/mail-transport.ts';
import { openTransport } from '../src/providers/open-transport.ts';
import type { OutgoingMail } from '../src/providers/outgoing-mail.ts';
import { parseProviders } from '../src/providers/settings.ts';
import { shippedTemplate } from '../src/templates/mail-template.ts';
import { startBroker } from './email-run.ts';

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly json: Record<string, unknown>;
}
type Answer =
  | {
      readonly status: number;
      readonly json?: unknown;
      readonly html?: string;
      readonly headers?: Record<string, string>;
    }
  | 'hang'
  | 'drop';

const SECRETS = { ses: 'wJalr/XUtnFEMI+K7MDENG', postmark: '11111111-2222-3333', sendgrid: 'SG.abc.def' } as const;
type Kind = keyof typeof SECRETS;

let server: Server;
let asked: Asked[] = [];
let answer: (request: Asked) => Answer = () => 'drop';
const transports: MailTransport[] = [];
beforeAll(async () => {
  server = createServer((request, response) => void play(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  for (const transport of transports) transport.close();
  server.closeAllConnections();
  server.close();
});

async function play(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const text = (await buffer(request)).toString();
  const seen: Asked = {
    method: request.method ?? '',
    path: request.url ?? '',
    headers: request.headers,
    text,
    json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  };
  asked.push(seen);
  const given = answer(seen);
  if (given === 'hang') return;
  if (given === 'drop') return void request.socket.destroy();
  response.writeHead(given.status, {
    'content-type': given.html === undefined ? 'application/json' : 'text/html',
    ...given.headers,
  });
  response.end(given.html ?? (given.json === undefined ? '' : JSON.stringify(given.json)));
}

const endpoint = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const urlOf = (kind: Kind, at = endpoint()): string => {
  const login = kind === 'ses' ? `AKIDEXAMPLE:${encodeURIComponent(SECRETS.ses)}@eu-west-1` : `${SECRETS[kind]}@`;
  return `${kind}://${login}?endpoint=${encodeURIComponent(at)}${kind === 'ses' ? '&configurationSet=set-1' : ''}`;
};
function open(url: string, attemptMs = 5_000): MailTransport {
  const [provider] = parseProviders(url, false);
  const timeouts = { ...defaultTimeouts, attemptMs };
  const transport = openTransport({ provider: provider!, timeouts, connections: 4, clientName: 'x' });
  transports.push(transport);
  return transport;
}

const sender: Sender = {
  address: 'no-reply@sluice.example',
  name: 'Sluice "and" Co',
  messageIdDomain: 'sluice.example',
  unsubscribe: { url: 'https://sluice.example/u?token={token}', secret: 'a secret of some length' },
  bounces: { domain: 'bounces.sluice.example', secret: 'a secret of some length' },
  links: { allowHttp: false },
  dkim: {
    domainName: 'sluice.example',
    keySelector: 's1',
    privateKey: generateKeyPairSync('rsa', { modulusLength: 2048 })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString(),
  },
};
const input: MailInput = {
  jobId: 'job_abcdefghijklmnopqrstuvwxyz',
  replays: 0,
  recipients: { to: 'ada.lovelace@example.com', cc: [], bcc: [] },
  template: shippedTemplate('notification'),
  variables: { title: 'Grüße — 日本語', message: 'Zeile 1\nZeile 2' },
  replyTo: 'support@sluice.example',
  headers: { 'X-Campaign': 'spring' },
  attachments: [
    { fileName: 'Größe.pdf', contentType: 'application/pdf', content: Buffer.from('%PDF-1.7 \0\xff', 'latin1') },
  ],
};
const mailOf = (more: Partial<MailInput> = {}, copy = 0): Promise<OutgoingMail> =>
  composeMail({ ...input, ...more }, sender, copy);
const never = new AbortController().signal;

const delivered: Record<Kind, Answer> = {
  ses: { status: 200, json: { MessageId: '0102-1' } },
  postmark: { status: 200, json: { ErrorCode: 0, Message: 'OK', MessageID: '0a1b' } },
  sendgrid: { status: 202, headers: { 'x-message-id': 'abc' } },
};

/** Signature version 4, computed again from its specification and not by the library that made it. */
function expectedSignature({ method, path, headers, text }: Asked): string {
  const hash = (data: string): string => createHash('sha256').update(data).digest('hex');
  const mac = (key: Buffer | string, data: string): Buffer => createHmac('sha256', key).update(data).digest();
  const authorization = headers.authorization ?? '';
  const names = (/SignedHeaders=([^,]+)/.exec(authorization)?.[1] ?? '').split(';');
  const scope = /Credential=[^/]+\/([^,]+)/.exec(authorization)?.[1] ?? '';
  const canonical = [
    method,
    path,
    '',
    ...names.map((name) => `${name}:${String(headers[name])}`),
    '',
    names.join(';'),
    hash(text),
  ];
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hash(canonical.join('\n'))].join('\n');
  const key = scope.split('/').reduce<Buffer | string>((last, part) => mac(last, part), `AWS4${SECRETS.ses}`);
  return mac(key, toSign).toString('hex');
}

describe('a mail', () => {
  test('to Amazon SES is the whole mail, signed for the region and without a signature that SES would break', async () => {
    asked = [];
    answer = () => delivered.ses;
    const mail = await mailOf();
    expect(await open(urlOf('ses')).send(mail, never)).toEqual({ kind: 'delivered', reply: '200 0102-1' });
    const [request] = asked;
    expect(request).toMatchObject({ method: 'POST', path: '/v2/email/outbound-emails' });
    const signature = /Signature=([0-9a-f]+)/.exec(request?.headers.authorization ?? '')?.[1];
    expect(request?.headers.authorization).toContain('/eu-west-1/ses/aws4_request');
    expect(signature).toBe(expectedSignature(request!));
    expect(request?.json).toMatchObject({
      Destination: { ToAddresses: ['ada.lovelace@example.com'] },
      FeedbackForwardingEmailAddress: mail.from,
      ConfigurationSetName: 'set-1',
    });
    const { Raw } = request!.json['Content'] as { Raw: { Data: string } };
    const read = await PostalMime.parse(Buffer.from(Raw.Data, 'base64'));
    expect(read.subject).toBe('Grüße — 日本語');
    expect(mail.raw.toString()).toContain('DKIM-Signature:');
    expect(read.headers.some(({ key }) => key === 'dkim-signature')).toBe(false);
  });

  test.each(['postmark', 'sendgrid'] as const)('to %s is taken apart and keeps all that it has', async (kind) => {
    asked = [];
    answer = () => delivered[kind];
    expect(await open(urlOf(kind)).send(await mailOf(), never)).toMatchObject({ kind: 'delivered' });
    const [request] = asked;
    const { headers, json } = request!;
    const read =
      kind === 'postmark'
        ? {
            key: headers['x-postmark-server-token'],
            from: json['From'],
            to: json['To'],
            replyTo: json['ReplyTo'],
            subject: json['Subject'],
            text: json['TextBody'] as string,
            headers: Object.fromEntries(
              (json['Headers'] as { Name: string; Value: string }[]).map(({ Name, Value }) => [Name, Value]),
            ),
            files: (json['Attachments'] as { Name: string; Content: string; ContentID?: string }[]).map((file) => [
              file.Name,
              file.Content,
              file.ContentID,
            ]),
          }
        : {
            key: headers.authorization,
            from: `"${(json['from'] as { name: string }).name.replaceAll('"', '\\"')}" <${(json['from'] as { email: string }).email}>`,
            to: (json['personalizations'] as { to: { email: string }[] }[])[0]?.to[0]?.email,
            replyTo: (json['reply_to'] as { email: string }).email,
            subject: json['subject'],
            text: (json['content'] as { type: string; value: string }[])[0]?.value ?? '',
            headers: json['headers'] as Record<string, string>,
            files: (json['attachments'] as { filename: string; content: string; content_id?: string }[]).map((file) => [
              file.filename,
              file.content,
              file.content_id === undefined ? undefined : `cid:${file.content_id}`,
            ]),
          };
    expect(read.key).toBe(kind === 'postmark' ? SECRETS.postmark : `Bearer ${SECRETS.sendgrid}`);
    expect(read).toMatchObject({
      from: '"Sluice \\"and\\" Co" <no-reply@sluice.example>',
      to: 'ada.lovelace@example.com',
      replyTo: 'support@sluice.example',
      subject: 'Grüße — 日本語',
      headers: {
        'Message-ID': '<job_abcdefghijklmnopqrstuvwxyz.0@sluice.example>',
        'X-Campaign': 'spring',
        'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
      },
    });
    expect(read.text).toContain('Zeile 1');
    expect(read.files).toContainEqual([
      'Größe.pdf',
      Buffer.from('%PDF-1.7 \0\xff', 'latin1').toString('base64'),
      undefined,
    ]);
    expect(read.files.map(([name, , cid]) => [name, cid])).toContainEqual(['logo.png', 'cid:logo@sluice']);
    expect(Object.keys(read.headers).map((name) => name.toLowerCase())).not.toContain('bcc');
  });

  test.each(['ses', 'postmark', 'sendgrid'] as const)(
    'with an address outside ASCII is left to another than %s',
    async (kind) => {
      asked = [];
      const mail = await mailOf({ recipients: { to: 'jürgen@example.com', cc: [], bcc: [] } });
      expect(await open(urlOf(kind)).send(mail, never)).toMatchObject({
        kind: 'refused',
        fault: undefined,
        reply: expect.stringContaining('SMTPUTF8') as string,
      });
      expect(asked).toEqual([]);
    },
  );

  test.each(['postmark', 'sendgrid'] as const)(
    'in copy is left to another than %s, which has no envelope',
    async (kind) => {
      asked = [];
      answer = () => delivered[kind];
      const transport = open(urlOf(kind));
      const bcc = { to: 'ada.lovelace@example.com', cc: [], bcc: ['bo@example.com'] };
      const cc = { to: 'ada.lovelace@example.com', cc: ['bo@example.com'], bcc: [] };
      for (const [recipients, copy] of [[bcc, 1] as const, [cc, 0] as const, [cc, 1] as const]) {
        expect(await transport.send(await mailOf({ recipients }, copy), never)).toMatchObject({ kind: 'refused' });
      }
      expect(asked).toEqual([]);
      expect(await transport.send(await mailOf({ recipients: bcc }), never)).toMatchObject({ kind: 'delivered' });
      expect(JSON.stringify(asked)).not.toContain('bo@example.com');
    },
  );

  test('in copy goes through SES, to its reader alone', async () => {
    asked = [];
    answer = () => delivered.ses;
    const recipients = { to: 'ada.lovelace@example.com', cc: [], bcc: ['bo@example.com'] };
    expect(await open(urlOf('ses')).send(await mailOf({ recipients }, 1), never)).toMatchObject({ kind: 'delivered' });
    expect(asked[0]?.json).toMatchObject({ Destination: { ToAddresses: ['bo@example.com'] } });
  });
});

const aws = (status: number, type: string, message: string): Answer => ({
  status,
  json: { message },
  headers: { 'x-amzn-errortype': `${type}:http://internal.amazon.com/coral/` },
});
const postmark = (ErrorCode: number, Message: string, status = 422): Answer => ({
  status,
  json: { ErrorCode, Message },
});
const sendgrid = (status: number, message: string, field: string | null = null): Answer => ({
  status,
  json: { errors: [{ message, field, help: null }] },
});
const html = (status: number): Answer => ({ status, html: '<html>proxy</html>' });

const delivery = { kind: 'delivered' };
const rejected = { kind: 'rejected', code: 'mail_rejected' };
const tooLarge = { kind: 'rejected', code: 'mail_too_large' };
const refused = { kind: 'refused', fault: undefined };
const later = { kind: 'deferred', afterData: false, fault: undefined };
const laterByFault = { kind: 'deferred', afterData: false, fault: 'provider' };
const laterThere = { kind: 'deferred', afterData: true, fault: 'provider' };
const unreachable = { kind: 'unreachable', fault: 'provider' };
const unknown = { kind: 'unknown', fault: 'provider' };

describe('an answer', () => {
  test.each<[Kind, string, Answer, object]>([
    ['ses', 'message id', delivered.ses, delivery],
    ['ses', 'page of a proxy with 200', html(200), unknown],
    ['ses', 'sending rate', aws(429, 'TooManyRequestsException', 'Maximum sending rate exceeded.'), later],
    ['ses', 'daily quota', aws(400, 'ThrottlingException', 'Daily message quota exceeded.'), laterByFault],
    ['ses', 'content refused', aws(400, 'MessageRejected', 'Transaction failed: contains a virus'), rejected],
    ['ses', 'sender not verified', aws(400, 'MessageRejected', 'Email address is not verified.'), unreachable],
    ['ses', 'address refused', aws(400, 'BadRequestException', 'Missing final @domain'), rejected],
    ['ses', 'malformed request', aws(400, 'BadRequestException', 'Unknown parameter'), refused],
    ['ses', 'too long', aws(400, 'BadRequestException', 'Message length is more than 41943040 bytes long'), tooLarge],
    ['ses', 'account suspended', aws(400, 'AccountSuspendedException', 'suspended'), unreachable],
    ['ses', 'sending paused', aws(400, 'SendingPausedException', 'paused'), unreachable],
    ['ses', 'key unknown', aws(403, 'UnrecognizedClientException', 'The security token is invalid.'), unreachable],
    ['ses', 'signature wrong', aws(403, 'InvalidSignatureException', 'Signature expired'), unreachable],
    ['ses', 'no such configuration set', aws(404, 'NotFoundException', 'set-1 does not exist'), unreachable],
    ['ses', 'failure of its own', aws(500, 'InternalServiceErrorException', 'try again'), laterThere],
    ['ses', 'unavailable', aws(503, 'ServiceUnavailableException', 'try again'), laterByFault],
    ['ses', 'bad gateway', html(502), unknown],
    ['ses', 'unavailable by a proxy', html(503), unknown],
    ['ses', 'redirect', { status: 307, headers: { location: 'http://127.0.0.1:9/' } }, unreachable],
    ['ses', 'silence', 'hang', unknown],
    ['ses', 'hang-up', 'drop', unknown],

    ['postmark', 'message id', delivered.postmark, delivery],
    ['postmark', 'error with 200', postmark(300, 'no', 200), unknown],
    ['postmark', 'page of a proxy with 200', html(200), unknown],
    ['postmark', 'inactive recipient', postmark(406, 'You tried to send to an inactive recipient.'), rejected],
    ['postmark', 'address refused', postmark(300, "Invalid 'To' address: 'ada'."), rejected],
    ['postmark', 'request refused', postmark(300, 'Zero recipients'), refused],
    ['postmark', 'attachment refused', postmark(411, 'Forbidden attachment type'), rejected],
    ['postmark', 'sender unknown', postmark(400, 'The From address is not a Sender Signature.'), unreachable],
    ['postmark', 'account pending', postmark(412, 'The account is pending approval.'), unreachable],
    ['postmark', 'out of credits', postmark(405, 'Not allowed to send'), unreachable],
    ['postmark', 'token wrong', postmark(10, 'The Server Token is invalid.', 401), unreachable],
    ['postmark', 'too large', postmark(0, 'too large', 413), tooLarge],
    ['postmark', 'rate', postmark(429, 'Rate limit exceeded', 429), later],
    ['postmark', 'failure of its own', postmark(0, 'Internal server error', 500), laterThere],
    ['postmark', 'planned outage', postmark(100, 'Maintenance', 503), laterByFault],
    ['postmark', 'gateway timeout', html(504), unknown],
    ['postmark', 'hang-up', 'drop', unknown],

    ['sendgrid', 'accepted', delivered.sendgrid, delivery],
    ['sendgrid', 'page of a proxy with 200', html(200), unknown],
    [
      'sendgrid',
      'address refused',
      sendgrid(400, 'Does not contain a valid address.', 'personalizations.0.to.0.email'),
      rejected,
    ],
    ['sendgrid', 'sender refused', sendgrid(400, 'Does not contain a valid address.', 'from.email'), unreachable],
    ['sendgrid', 'request refused', sendgrid(400, 'Bad Request'), refused],
    [
      'sendgrid',
      'sender not verified',
      sendgrid(403, 'The from address does not match a verified Sender Identity.', 'from'),
      unreachable,
    ],
    ['sendgrid', 'credits used up', sendgrid(401, 'Maximum credits exceeded'), unreachable],
    ['sendgrid', 'too large', sendgrid(413, 'too large'), tooLarge],
    ['sendgrid', 'rate', sendgrid(429, 'too many requests'), later],
    ['sendgrid', 'failure of its own', sendgrid(500, 'internal error'), laterThere],
    ['sendgrid', 'bad gateway', html(502), unknown],
    ['sendgrid', 'hang-up', 'drop', unknown],
  ])('of %s: %s', async (kind, _, given, expected) => {
    answer = () => given;
    const verdict = await open(urlOf(kind), given === 'hang' ? 300 : 5_000).send(await mailOf(), never);
    expect(verdict).toMatchObject(expected);
  });

  test('that does not come, because no connection does, leaves the mail unsent', async () => {
    for (const kind of ['ses', 'postmark', 'sendgrid'] as const) {
      const transport = open(urlOf(kind, 'http://127.0.0.1:1'));
      expect(await transport.send(await mailOf(), never)).toMatchObject(unreachable);
      expect(await transport.probe()).toMatch(/ECONNREFUSED/);
    }
  });

  test('that repeats the key or the address shows neither', async () => {
    for (const kind of ['ses', 'postmark', 'sendgrid'] as const) {
      const words = `bad key ${SECRETS[kind]} for ada.lovelace@example.com (ada.lovelace)`;
      answer = () =>
        kind === 'ses' ? aws(403, 'X', words) : kind === 'postmark' ? postmark(10, words, 401) : sendgrid(401, words);
      const transport = open(urlOf(kind));
      const { reply } = await transport.send(await mailOf(), never);
      for (const text of [reply, (await transport.probe()) ?? '']) {
        expect(text).toContain('bad key');
        expect(text).not.toContain(SECRETS[kind]);
        expect(text).not.toContain('lovelace@');
      }
      expect(reply).not.toContain('lovelace');
    }
  });
});

test.each<[Kind, Answer, Answer]>([
  ['ses', { status: 200, json: { SendingEnabled: true } }, { status: 200, json: { SendingEnabled: false } }],
  ['ses', aws(403, 'AccessDeniedException', 'may not look'), aws(403, 'InvalidSignatureException', 'wrong')],
  ['postmark', { status: 200, json: { ID: 1 } }, postmark(10, 'invalid', 401)],
  ['sendgrid', { status: 200, json: { scopes: [] } }, sendgrid(401, 'invalid')],
])('%s is probed without a mail', async (kind, well, wrong) => {
  asked = [];
  const transport = open(urlOf(kind));
  answer = () => well;
  expect(await transport.probe()).toBeUndefined();
  answer = () => wrong;
  expect(await transport.probe()).toEqual(expect.any(String));
  expect(asked.map(({ method }) => method)).toEqual(['GET', 'GET']);
});

test('connections are kept for the mails that follow', async () => {
  answer = () => delivered.postmark;
  const transport = open(urlOf('postmark'));
  for (let n = 0; n < 5; n++) await transport.send(await mailOf(), never);
  expect(transport.connectionsOpened).toBe(1);
});

test('an API and a server are one list: what the API did not take goes on, and what it may have taken stays with it', async () => {
  const [broker, smtp] = await Promise.all([startBroker(), startScriptedSmtp()]);
  const email = await broker.email(`${urlOf('ses')}&name=ses,${smtp.url}?name=relay`);
  const send = async (jobId: string, ...answers: Answer[]) => {
    answer = () => answers.shift() ?? delivered.ses;
    await broker.ask({ jobId, to: `${jobId}@example.com` });
    return (await broker.ended(jobId)).result?.outcome;
  };
  try {
    expect(await send('job_api_1')).toMatchObject({ value: { provider: 'ses', ambiguous: false, attempts: 1 } });
    const wrongKey = aws(403, 'InvalidSignatureException', 'wrong');
    expect(await send('job_api_2', wrongKey)).toMatchObject({ value: { provider: 'relay', attempts: 2 } });
    expect(await send('job_api_3', html(502))).toMatchObject({ value: { provider: 'ses', ambiguous: true } });
    const bad = aws(400, 'BadRequestException', 'Missing final @domain');
    expect(await send('job_api_4', bad)).toMatchObject({ case: 'failed', value: { code: 'mail_rejected' } });
    expect(smtp.mails.map(({ to }) => to)).toEqual([['job_api_2@example.com']]);
  } finally {
    await email.stop();
    await Promise.all([smtp.close(), broker.close()]);
  }
});
