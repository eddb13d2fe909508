import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { ConfigError, loadConfig, serviceFields } from '@sluice/service';
import { describe, expect, test } from 'vitest';
import { mayLink } from './compose/links.ts';
import { configWarnings, emailFields, emailSettings, type EmailSettings } from './config.ts';
import { parseProviders } from './providers/settings.ts';

const pemOf = ({ privateKey }: { privateKey: KeyObject }): string =>
  privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const pem = pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 }));
const settings = (env: Record<string, string>): EmailSettings =>
  emailSettings(
    loadConfig(
      { ...serviceFields, ...emailFields },
      { SMTP_URLS: 'smtp://mail.example', MAIL_FROM: 'no-reply@sluice.dev', ...env },
    ),
  );
const problemsOf = (env: Record<string, string>): string => {
  try {
    settings(env);
    return '';
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.join('\n');
    throw error;
  }
};

test.each(['CONCURRENCY', 'CONCURRENCY_WELCOME', 'CONCURRENCY_NOTIFICATION'])(
  '%s of one mail is refused: a pipeline reads two lanes',
  (name) => {
    expect(problemsOf({ [name]: '1' })).toMatch(new RegExp(`^${name}: .*the normal and the express lane`));
    expect(problemsOf({ [name]: '2' })).toBe('');
  },
);

describe('the providers', () => {
  test('come in order of preference, named by letter unless they say otherwise', () => {
    expect(
      parseProviders(
        'smtp://u:p%40ss@one.example:2525?perSecond=50&connections=4, smtps://two.example?name=backup',
        true,
      ),
    ).toEqual([
      {
        kind: 'smtp',
        name: 'a',
        host: 'one.example',
        port: 2525,
        implicitTls: false,
        requireTls: true,
        auth: { user: 'u', pass: 'p@ss' },
        connections: 4,
        perSecond: 50,
      },
      { kind: 'smtp', name: 'backup', host: 'two.example', port: 465, implicitTls: true, requireTls: true },
    ]);
  });

  test('must have TLS outside dev, unless one is excused by name', () => {
    expect(settings({}).providers).toMatchObject([{ requireTls: true }]);
    expect(settings({ SLUICE_ENV: 'dev' }).providers).toMatchObject([{ requireTls: false }]);
    expect(settings({ SMTP_URLS: 'smtp://relay.internal?tls=off' }).providers).toMatchObject([{ requireTls: false }]);
  });

  test.each([
    ['http://mail.example', /provider 1: must be smtp/],
    ['smtp://ok.example,mail.example:25', /provider 2: must be smtp/],
    ['smtp://mail.example?tls=maybe', /provider 1: tls/],
    ['smtp://mail.example?rejectUnauthorized=false', /provider 1: options/],
    ['smtp://a.example?name=x,smtp://b.example?name=x', /share a name/],
  ])('written as %s are refused at the start', (urls, problem) =>
    expect(problemsOf({ SMTP_URLS: urls })).toMatch(problem),
  );

  test('may be APIs, by their name and key', () => {
    const urls =
      'ses://AKIA1:a%2Fb%2Bc@eu-west-1?configurationSet=set-1&perSecond=14,postmark://1a-2b@?stream=outbound,sendgrid://SG.k_1@?region=eu&name=sg';
    expect(parseProviders(urls, true)).toEqual([
      {
        kind: 'ses',
        name: 'a',
        endpoint: new URL('https://email.eu-west-1.amazonaws.com'),
        region: 'eu-west-1',
        accessKeyId: 'AKIA1',
        secretAccessKey: 'a/b+c',
        configurationSet: 'set-1',
        perSecond: 14,
      },
      {
        kind: 'postmark',
        name: 'b',
        endpoint: new URL('https://api.postmarkapp.com'),
        token: '1a-2b',
        stream: 'outbound',
      },
      { kind: 'sendgrid', name: 'sg', endpoint: new URL('https://api.eu.sendgrid.com'), key: 'SG.k_1' },
    ]);
    expect(problemsOf({ SMTP_URLS: `smtps://one.example,${urls}` })).toBe('');
  });

  test.each([
    ['a host in place of the region', 'ses://K:hunter2@evil.example', /must be a region/],
    ['a region that leads to another host', 'ses://K:hunter2@eu-west-1.evil.example', /must be a region/],
    ['no secret', 'ses://K@eu-west-1', /KEY:SECRET/],
    ['no token', 'postmark://@', /must be smtp/],
    ['a header in the key', 'sendgrid://hunter2%0d%0aHost:evil@', /printable ASCII/],
    ['half an escape', 'sendgrid://hunter2%@', /%25/],
    ['a plain endpoint', 'postmark://hunter2@?endpoint=http://10.0.0.1', /must be https/],
    ['a file', 'postmark://hunter2@?endpoint=file:///etc/passwd', /must be https/],
    ['a path at the endpoint', 'postmark://hunter2@?endpoint=https://a.example/x', /scheme, a host and a port/],
    ['a login at the endpoint', 'postmark://hunter2@?endpoint=https://u@a.example', /scheme, a host and a port/],
    ['an option of another', 'sendgrid://hunter2@?tls=off', /options/],
    ['an API that is not known', 'mailgun://hunter2@', /must be smtp/],
  ])('with %s are refused at the start, and no key is shown', (_, url, problem) => {
    expect(problemsOf({ SMTP_URLS: url })).toMatch(problem);
    expect(problemsOf({ SMTP_URLS: url })).not.toMatch(/hunter2/);
  });

  test('are refused without showing their password', () => {
    expect(problemsOf({ SMTP_URLS: 'smtp://user:hunter2@mail.example?tls=maybe' })).not.toMatch(/hunter2/);
  });
});

describe('the configuration', () => {
  test('limits accounts and recipients outside dev, and none in it', () => {
    expect(settings({}).quota).toEqual({ perAccountPerDay: 10_000, perRecipientPerHour: 20 });
    expect(settings({ SLUICE_ENV: 'dev' }).quota).toEqual({ perAccountPerDay: 0, perRecipientPerHour: 0 });
    expect(settings({ QUOTA_PER_ACCOUNT_PER_DAY: '0' }).quota.perAccountPerDay).toBe(0);
  });

  test('gives each pipeline slots of its own', () => {
    expect(settings({ CONCURRENCY: '8', CONCURRENCY_WELCOME: '2' }).concurrency).toEqual({
      welcome_mailer: 2,
      notification_mailer: 8,
    });
  });

  test('takes the domain of the sender for Message-IDs', () => {
    const { sender } = settings({ MAIL_FROM: 'hello@Mail.Dev' });
    expect(sender).toMatchObject({ address: 'hello@mail.dev', messageIdDomain: 'mail.dev' });
  });

  test('signs with DKIM when all of it is there, and refuses half of it', () => {
    const dkim = { MAIL_FROM: 'a@mail.dev', DKIM_DOMAIN: 'mail.dev', DKIM_SELECTOR: 's1', DKIM_PRIVATE_KEY: pem };
    expect(settings(dkim).sender.dkim).toEqual({ domainName: 'mail.dev', keySelector: 's1', privateKey: pem });
    expect(problemsOf({ DKIM_DOMAIN: 'mail.example' })).toMatch(/all three or none/);
    expect(problemsOf({ ...dkim, DKIM_PRIVATE_KEY: 'secret' })).toMatch(/DKIM_PRIVATE_KEY: must be a private key/);
  });

  test.each([
    ['Ed25519', pemOf(generateKeyPairSync('ed25519')), /RSA key, not ed25519/],
    ['elliptic curves', pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' })), /RSA key, not ec/],
    ['512 bits', pemOf(generateKeyPairSync('rsa', { modulusLength: 512 })), /512 bits, at least 1024/],
  ])('refuses a DKIM key of %s, which would leave mails unsigned', (_, key, problem) => {
    const dkim = { DKIM_DOMAIN: 'sluice.dev', DKIM_SELECTOR: 's1', DKIM_PRIVATE_KEY: key };
    expect(problemsOf(dkim)).toMatch(problem);
  });

  test.each([
    ['mail.sluice.dev', ''],
    ['sluice.dev', ''],
    ['other.dev', 'DKIM_DOMAIN: is not the domain'],
    ['dev-sluice.dev', 'DKIM_DOMAIN: is not the domain'],
  ])('signs for %s in the name of sluice.dev: %s', (domain, problem) => {
    const dkim = { DKIM_DOMAIN: domain, DKIM_SELECTOR: 's1', DKIM_PRIVATE_KEY: pem };
    expect(problemsOf(dkim).startsWith(problem)).toBe(true);
    expect(problemsOf(dkim) === '').toBe(problem === '');
  });

  test.each(['no-reply@sluice.example', 'a@example.com', 'a@sub.example.org', 'a@mail.test', 'a@corp.invalid'])(
    'refuses to send as %s outside dev',
    (from) => {
      expect(problemsOf({ MAIL_FROM: from })).toMatch(/reserved domain/);
      expect(problemsOf({ MAIL_FROM: from, SLUICE_ENV: 'dev' })).toBe('');
    },
  );

  test.each([
    ['https://exämple.dev/u/{token}', /ASCII/],
    ['https://sluice.dev/a b/{token}', /ASCII|URL/i],
    ['https://sluice.dev/{token}?again={token}', /\{token\} once/],
    ['https://sluice.dev/u', /\{token\} once/],
    [`https://sluice.dev/${'p'.repeat(1000)}/{token}`, /at most 500/],
    ['https://sluice.dev/u,v/{token}', /comma/],
    ['https://sluice.dev/u?t={token}', /^$/],
  ])('reads UNSUBSCRIBE_URL=%s', (url, problem) => {
    const secret = 'a secret of some length';
    expect(problemsOf({ UNSUBSCRIBE_URL: url, UNSUBSCRIBE_SECRET: secret })).toMatch(problem);
  });

  test('reads senders of accounts, each with a key for its own domain', () => {
    const dkim = { domain: 'acme.dev', selector: 's1', privateKey: pem };
    const acme = { account: 'acme', address: 'Hello@Acme.dev', name: 'Acme', dkim };
    const read = settings({ SENDERS: JSON.stringify([acme]) });
    expect(read.senders.get('acme')).toMatchObject({
      address: 'Hello@acme.dev',
      name: 'Acme',
      dkim: { domainName: 'acme.dev', keySelector: 's1' },
      messageIdDomain: read.sender.messageIdDomain,
    });
    for (const [wrong, problem] of [
      [[{ ...acme, dkim: { ...dkim, domain: 'other.dev' } }], /acme: dkim.domain is not acme.dev/],
      [[acme, acme], /two senders/],
      [[{ ...acme, address: 'a@acme.example' }], /reserved|not acme.example/],
      [[{ ...acme, dkim: undefined }], /dkim/],
      [[{ ...acme, dkim: { ...dkim, privateKey: 'x' } }], /0.dkim.privateKey: must be a private key/],
      [[{ ...acme, address: 'a@b.dev, c@d.dev' }], /one bare address/],
    ] as const) {
      expect(problemsOf({ SENDERS: JSON.stringify(wrong) })).toMatch(problem);
    }
    expect(problemsOf({ SENDERS: 'x' })).toBe('SENDERS: must be JSON');
  });

  test('wants both of what returned mail needs', () => {
    expect(problemsOf({ BOUNCE_DOMAIN: 'bounces.sluice.dev' })).toMatch(/both or neither/);
    const secret = 'a secret of some length';
    expect(problemsOf({ BOUNCE_DOMAIN: 'bounces.sluice.dev', BOUNCE_SECRET: secret })).toBe('');
  });

  test('refuses a CA that is no certificate', () => {
    expect(problemsOf({ SMTP_CA: 'my ca' })).toMatch(/SMTP_CA: must be a certificate/);
  });

  test('says what will cost deliverability, outside dev', () => {
    const config = (env: Record<string, string>) =>
      loadConfig({ ...serviceFields, ...emailFields }, { SMTP_URLS: 'smtp://mail.example', ...env });
    expect(configWarnings(config({})).join()).toMatch(/DKIM.*unsubscribe/);
    expect(configWarnings(config({ SLUICE_ENV: 'dev' }))).toEqual([]);
  });

  test('names everything that is wrong at once', () => {
    const problems = problemsOf({
      MAIL_FROM: 'a@b.example, c@d.example',
      MAIL_FROM_NAME: 'x\r\nBcc: y',
      SMTP_ATTEMPT_TIMEOUT_MS: '60000',
      UNSUBSCRIBE_URL: 'http://mail.example/u?t={token}',
      PDF_LINK_TTL_MS: '999999999999',
    });
    for (const name of [
      'MAIL_FROM:',
      'MAIL_FROM_NAME:',
      'SMTP_ATTEMPT_TIMEOUT_MS:',
      'UNSUBSCRIBE_URL:',
      'PDF_LINK_TTL_MS:',
    ]) {
      expect(problems).toContain(name);
    }
  });
});

describe('a link of a caller', () => {
  test('goes by https outside dev', () => {
    expect(mayLink('https://any.example/', { allowHttp: false })).toBe(true);
    expect(mayLink('http://any.example/', { allowHttp: false })).toBe(false);
    expect(mayLink('http://any.example/', { allowHttp: true })).toBe(true);
  });

  test.each([
    ['https://sluice.example/x', true],
    ['https://app.sluice.example/x', true],
    ['https://evilsluice.example/', false],
    ['https://sluice.example.evil.example/', false],
    ['https://evil.example/?https://sluice.example/', false],
    ['https://sluice.example@evil.example/', false],
    ['https://SLUICE.example/', true],
  ])('to %s, with sluice.example allowed, is let through: %s', (link, allowed) => {
    expect(mayLink(link, { allowHttp: false, hosts: ['sluice.example'] })).toBe(allowed);
  });
});
