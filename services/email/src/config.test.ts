import { generateKeyPairSync } from 'node:crypto';
import { ConfigError, loadConfig, serviceFields } from '@sluice/service';
import { describe, expect, test } from 'vitest';
import { mayLink } from './compose/links.ts';
import { emailFields, emailSettings, type EmailSettings } from './config.ts';
import { parseProviders } from './providers/settings.ts';

const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const settings = (env: Record<string, string>): EmailSettings =>
  emailSettings(loadConfig({ ...serviceFields, ...emailFields }, { SMTP_URLS: 'smtp://mail.example', ...env }));
const problemsOf = (env: Record<string, string>): string => {
  try {
    settings(env);
    return '';
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.join('\n');
    throw error;
  }
};

describe('the providers', () => {
  test('come in order of preference, named by letter unless they say otherwise', () => {
    expect(
      parseProviders(
        'smtp://u:p%40ss@one.example:2525?perSecond=50&connections=4, smtps://two.example?name=backup',
        true,
      ),
    ).toEqual([
      {
        name: 'a',
        host: 'one.example',
        port: 2525,
        implicitTls: false,
        requireTls: true,
        auth: { user: 'u', pass: 'p@ss' },
        connections: 4,
        perSecond: 50,
      },
      { name: 'backup', host: 'two.example', port: 465, implicitTls: true, requireTls: true },
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

  test('are refused without showing their password', () => {
    expect(problemsOf({ SMTP_URLS: 'smtp://user:hunter2@mail.example?tls=maybe' })).not.toMatch(/hunter2/);
  });
});

describe('the configuration', () => {
  test('limits accounts and recipients outside dev, and nobody in it', () => {
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
    const { sender } = settings({ MAIL_FROM: 'hello@Mail.Example' });
    expect(sender).toMatchObject({ address: 'hello@mail.example', messageIdDomain: 'mail.example' });
  });

  test('signs with DKIM when all of it is there, and refuses half of it', () => {
    const dkim = { DKIM_DOMAIN: 'mail.example', DKIM_SELECTOR: 's1', DKIM_PRIVATE_KEY: pem };
    expect(settings(dkim).sender.dkim).toEqual({ domainName: 'mail.example', keySelector: 's1', privateKey: pem });
    expect(problemsOf({ DKIM_DOMAIN: 'mail.example' })).toMatch(/all three or none/);
    expect(problemsOf({ ...dkim, DKIM_PRIVATE_KEY: 'secret' })).toMatch(/DKIM_PRIVATE_KEY: must be a private key/);
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
