import { X509Certificate } from 'node:crypto';
import { needsSmtpUtf8, parseEmailAddress } from '@sluice/contracts';
import { lifetimes } from '@sluice/messaging';
import { ConfigError, fields, natsFields, storeFields } from '@sluice/service';
import { z } from 'zod';
import type { Sender } from './compose/compose-mail.ts';
import { dkimKeyProblem, domainOf, isAligned, isReserved, readSenders } from './compose/senders.ts';
import { parseProviders, type ProviderSettings } from './providers/settings.ts';

const address = z
  .string()
  .refine((value) => parseEmailAddress(value) !== undefined, 'must be one bare address')
  // As a sender it would keep every mail from servers without SMTPUTF8, and a mailto link is ASCII.
  .refine((value) => !needsSmtpUtf8(value), 'must be ASCII in front of the @')
  .transform((value) => parseEmailAddress(value) ?? '');
const domain = z.string().regex(/^(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'must be a domain in lower case');
const TOKEN = /\{token\}|%7Btoken%7D/i;
/** With a token of 400 characters the header line stays below the 998 of RFC 5322 2.1.1. */
const MAX_UNSUBSCRIBE_CHARS = 500;
const limit = z.coerce.number().int().min(0);

const BOTH_LANES = 'the normal and the express lane need one each';

/** What the email service takes besides the fields of every service. Times end in `_MS`. */
export const emailFields = {
  ...natsFields,
  ...storeFields,
  /** Only mails with a PDF need the store. */
  S3_ACCESS_KEY_ID: z.string().optional(),
  /** Belongs to S3_ACCESS_KEY_ID. */
  S3_SECRET_ACCESS_KEY: z.string().optional(),

  /** The providers in order of preference, comma separated: `smtp://`, `smtps://`, `ses://`, `postmark://`, `sendgrid://`. docs/email.md has their options. */
  SMTP_URLS: z.string().superRefine((urls, check) => {
    try {
      parseProviders(urls, false);
    } catch (error) {
      check.addIssue({ code: 'custom', message: (error as Error).message });
    }
  }),
  /** PEM of a CA, for providers whose certificate no public authority signed. */
  SMTP_CA: z.string().refine(isCertificate, 'must be a certificate in PEM').optional(),
  /** One attempt at one provider, altogether. */
  SMTP_ATTEMPT_TIMEOUT_MS: fields.ms.max(25_000, 'must stay below ack_wait, 30 s').default(20_000),
  /** Mails in hand at once, for each of the two pipelines that does not say otherwise. */
  CONCURRENCY: fields.count.min(2, BOTH_LANES).max(500).default(16),
  /** Mails in hand at once of `welcome_mailer`; CONCURRENCY when absent. */
  CONCURRENCY_WELCOME: fields.count.min(2, BOTH_LANES).max(500).optional(),
  /** Mails in hand at once of `notification_mailer`; CONCURRENCY when absent. */
  CONCURRENCY_NOTIFICATION: fields.count.min(2, BOTH_LANES).max(500).optional(),

  /** Needed outside dev: an address of a domain of your own. */
  MAIL_FROM: address.default('no-reply@sluice.example'),
  /** The name in front of MAIL_FROM. */
  MAIL_FROM_NAME: z
    .string()
    .regex(/^[^\p{Cc}<>"@,]{1,64}$/u, 'must be a plain name')
    .default('Sluice'),
  /** Behind the @ of every Message-ID; the domain of MAIL_FROM when absent. */
  MESSAGE_ID_DOMAIN: domain.optional(),
  /** An address in `List-Unsubscribe` that takes unsubscribes by mail. */
  UNSUBSCRIBE_ADDRESS: address.optional(),
  /** An https URL with `{token}` in it; a POST to it unsubscribes with one click. */
  UNSUBSCRIBE_URL: z
    .url({ protocol: /^https$/ })
    .refine((url) => url.split(TOKEN).length === 2, 'must contain {token} once')
    // The header holds it as it is: RFC 2369 wants ASCII without spaces, and a host outside ASCII in its punycode form.
    .refine((url) => /^[\x21-\x7e]+$/.test(url), 'must be ASCII without spaces; write the host in punycode')
    .refine((url) => url.length <= MAX_UNSUBSCRIBE_CHARS, `must have at most ${MAX_UNSUBSCRIBE_CHARS} characters`)
    .refine((url) => !/[<>,]/.test(url), 'must contain no <, > or comma, which end it in the header')
    .optional(),
  /** Signs the token in UNSUBSCRIBE_URL; the gateway needs the same. */
  UNSUBSCRIBE_SECRET: z.string().min(16).optional(),
  /** The domain whose mail the gateway takes (BOUNCE_SMTP_PORT): mails are returned to an address of their own there. */
  BOUNCE_DOMAIN: domain.optional(),
  /** Signs the addresses of BOUNCE_DOMAIN; the gateway needs the same. */
  BOUNCE_SECRET: z.string().min(16).optional(),
  /** The domain that signs mails, that of MAIL_FROM or one above it. All three DKIM variables or none. */
  DKIM_DOMAIN: domain.optional(),
  /** The name of the key in the DNS of DKIM_DOMAIN. */
  DKIM_SELECTOR: domain.or(z.string().regex(/^[a-z0-9-]{1,63}$/)).optional(),
  /** PEM; best given as DKIM_PRIVATE_KEY_FILE. */
  DKIM_PRIVATE_KEY: z
    .string()
    .superRefine((pem, check) => {
      const message = dkimKeyProblem(pem);
      if (message !== undefined) check.addIssue({ code: 'custom', message });
    })
    .optional(),

  /** Accounts with a sender of their own, as JSON; best given as SENDERS_FILE. docs/email.md has an example. */
  SENDERS: z.string().optional(),

  /** What to do with a mail that may have been delivered: `resend` it under the same Message-ID, or `park` it. */
  AMBIGUITY_POLICY: z.enum(['resend', 'park']).default('resend'),
  /** How long a mail is kept in hand while no provider can be tried, before it counts as an attempt. */
  HOLD_MS: fields.ms.default(30 * 60_000),
  /** The delay of the first retry; each further one is three times as long. */
  RETRY_BASE_MS: fields.ms.default(5_000),
  /** The longest delay of a retry. */
  RETRY_MAX_MS: fields.ms.default(60 * 60_000),
  /** Deliveries that may end in a refusal for now (4xx) or an error, before a mail is given up. */
  RETRY_ATTEMPTS: fields.count.default(50),
  /** How long after its first attempt a mail is still tried; RFC 5321 4.5.4.1 speaks of 4 to 5 days. */
  RETRY_FOR_MS: fields.ms
    .max(lifetimes.mailRetry, 'must stay below the 7 days that jobs are kept')
    .default(lifetimes.day),
  /** Mails per account and UTC day. 0 for no limit; absent: 10000, and no limit in dev. */
  QUOTA_PER_ACCOUNT_PER_DAY: limit.optional(),
  /** Mails per recipient and UTC hour. 0 for no limit; absent: 20, and no limit in dev. */
  QUOTA_PER_RECIPIENT_PER_HOUR: limit.optional(),
  /** Hosts a caller may link to, comma separated, with their subdomains; any when absent. Outside dev only by https. */
  LINK_HOSTS: z
    .string()
    .regex(/^[a-z0-9.-]+(\s*,\s*[a-z0-9.-]+)*$/, 'must be hosts in lower case, comma separated')
    .transform((hosts) => hosts.split(',').map((host) => host.trim()))
    .optional(),
  /** How long the link to a PDF in a mail works. */
  PDF_LINK_TTL_MS: fields.ms.max(7 * 86_400_000, 'a presigned URL lives 7 days at most').default(86_400_000),
  /** A PDF is attached only when asked for and not larger than this. */
  ATTACH_MAX_BYTES: fields.count.default(3_000_000),
  /** Bytes of files that mails in hand carry together; the rest waits. A mail takes four times that in memory, over HTTP eight. */
  FILES_IN_HAND_BYTES: fields.count.default(20_000_000),
};

export type EmailConfig = z.infer<z.ZodObject<typeof emailFields>> & { readonly SLUICE_ENV: 'dev' | 'production' };

/** The configuration in the words of the service. */
export interface EmailSettings {
  readonly providers: readonly ProviderSettings[];
  readonly sender: Sender;
  /** Senders of accounts that have one of their own. */
  readonly senders: ReadonlyMap<string, Sender>;
  readonly quota: { readonly perAccountPerDay: number; readonly perRecipientPerHour: number };
  /** Slots of each pipeline. */
  readonly concurrency: { readonly welcome_mailer: number; readonly notification_mailer: number };
}

/**
 * Reads what hangs together: outside `dev`, TLS is demanded of every provider and quotas are on.
 *
 * @throws {ConfigError}
 */
export function emailSettings(config: EmailConfig): EmailSettings {
  const dev = config.SLUICE_ENV === 'dev';
  const problems: string[] = [];
  const dkim = [config.DKIM_DOMAIN, config.DKIM_SELECTOR, config.DKIM_PRIVATE_KEY] as const;
  const [domainName, keySelector, privateKey] = dkim;
  const signs = domainName !== undefined && keySelector !== undefined && privateKey !== undefined;
  if (!signs && dkim.some((part) => part !== undefined)) {
    problems.push('DKIM_DOMAIN, DKIM_SELECTOR, DKIM_PRIVATE_KEY: all three or none');
  }
  if (config.UNSUBSCRIBE_URL !== undefined && config.UNSUBSCRIBE_SECRET === undefined) {
    problems.push('UNSUBSCRIBE_SECRET: is needed to sign the links of UNSUBSCRIBE_URL');
  }
  if ((config.BOUNCE_DOMAIN === undefined) !== (config.BOUNCE_SECRET === undefined)) {
    problems.push('BOUNCE_DOMAIN, BOUNCE_SECRET: both or neither');
  }
  const fromDomain = domainOf(config.MAIL_FROM);
  if (signs && !isAligned(domainName, fromDomain)) {
    problems.push(
      `DKIM_DOMAIN: is not the domain of MAIL_FROM (${fromDomain}) nor above it: DMARC would fail every mail`,
    );
  }
  if (!dev && isReserved(fromDomain)) {
    problems.push(`MAIL_FROM: ${fromDomain} is a reserved domain that no server accepts; set an address of your own`);
  }
  let providers: readonly ProviderSettings[] = [];
  try {
    providers = parseProviders(config.SMTP_URLS, !dev);
  } catch (error) {
    problems.push(`SMTP_URLS: ${(error as Error).message}`);
  }
  const own = readSenders(config.SENDERS ?? '[]', dev);
  problems.push(...own.problems.map((problem) => `SENDERS: ${problem}`));
  if (problems.length > 0) throw new ConfigError(problems);

  const { UNSUBSCRIBE_ADDRESS, UNSUBSCRIBE_URL, UNSUBSCRIBE_SECRET, BOUNCE_DOMAIN, BOUNCE_SECRET } = config;
  const unsubscribe = {
    ...(UNSUBSCRIBE_ADDRESS === undefined ? {} : { address: UNSUBSCRIBE_ADDRESS }),
    ...(UNSUBSCRIBE_URL === undefined ? {} : { url: UNSUBSCRIBE_URL.replace(TOKEN, '{token}') }),
    ...(UNSUBSCRIBE_SECRET === undefined ? {} : { secret: UNSUBSCRIBE_SECRET }),
  };
  const sender: Sender = {
    address: config.MAIL_FROM,
    name: config.MAIL_FROM_NAME,
    messageIdDomain: config.MESSAGE_ID_DOMAIN ?? fromDomain,
    unsubscribe,
    bounces:
      BOUNCE_DOMAIN === undefined || BOUNCE_SECRET === undefined
        ? undefined
        : { domain: BOUNCE_DOMAIN, secret: BOUNCE_SECRET },
    links: { allowHttp: dev, hosts: config.LINK_HOSTS },
    dkim: signs ? { domainName, keySelector, privateKey } : undefined,
  };
  const senders = new Map(own.senders.map(({ account, ...from }) => [account, { ...sender, ...from }] as const));
  return {
    providers,
    sender,
    senders,
    concurrency: {
      welcome_mailer: config.CONCURRENCY_WELCOME ?? config.CONCURRENCY,
      notification_mailer: config.CONCURRENCY_NOTIFICATION ?? config.CONCURRENCY,
    },
    quota: {
      perAccountPerDay: config.QUOTA_PER_ACCOUNT_PER_DAY ?? (dev ? 0 : 10_000),
      perRecipientPerHour: config.QUOTA_PER_RECIPIENT_PER_HOUR ?? (dev ? 0 : 20),
    },
  };
}

/** What outside dev works but costs deliverability; said at start. */
export function configWarnings(config: EmailConfig): string[] {
  if (config.SLUICE_ENV === 'dev') return [];
  return [
    ...(config.DKIM_PRIVATE_KEY === undefined
      ? [
          'mails go out without a DKIM signature: large receivers refuse or file them as spam; set DKIM_DOMAIN, DKIM_SELECTOR and DKIM_PRIVATE_KEY',
        ]
      : []),
    ...(config.UNSUBSCRIBE_URL === undefined
      ? [
          'recurring mails have no one-click unsubscribe, which large receivers want; set UNSUBSCRIBE_URL and UNSUBSCRIBE_SECRET',
        ]
      : []),
  ];
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== '';
  } catch {
    return false;
  }
}
