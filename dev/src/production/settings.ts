import { randomBytes } from 'node:crypto';
import { hash } from 'bcryptjs';
import { withPublicKeys } from './nats-users.ts';

/** What only its owner can say. */
export interface Site {
  /** The host name under which the system is reached. */
  readonly domain: string;
  /** Where the certificate authority writes to when a certificate is about to expire. */
  readonly email: string;
}

/**
 * A password of 192 bits, in characters that need no quotes in a shell, a URL or a configuration file. It begins with a
 * letter: nats-server reads a variable that begins with a digit as a number, and does not start.
 */
export const newSecret = (): string => `s${randomBytes(24).toString('base64url')}`;

const writes = (...prefixes: readonly string[]): readonly string[] =>
  prefixes.map((prefix) => `Write:sluice/${prefix}/*`);

/** Who stores objects, and what each may do with them. The operator copies all of them and brings them back. */
const objectRights: Readonly<Record<string, readonly string[]>> = {
  gateway: ['Read:sluice', 'List:sluice', ...writes('uploads', 'pdf', 'attachments')],
  image: ['Read:sluice', 'List:sluice', ...writes('uploads', 'pdf')],
  email: ['Read:sluice/pdf/*', 'Read:sluice/attachments/*'],
  operator: ['Read:sluice', 'List:sluice', ...writes('uploads', 'pdf', 'attachments')],
};

export interface ProductionFiles {
  /** The text of .env. */
  readonly env: string;
  /** The object store's users, as SeaweedFS reads them. */
  readonly s3: string;
  /** To be shown once: only its hash is kept. */
  readonly operatorPassword: string;
}

/** Fresh secrets for everything but the broker's users, whose public keys these are, by user. */
export async function productionFiles(
  { domain, email }: Site,
  natsKeys: Readonly<Record<string, string>>,
): Promise<ProductionFiles> {
  const operatorPassword = newSecret();
  const s3Secrets = Object.fromEntries(Object.keys(objectRights).map((service) => [service, newSecret()]));
  const lines: readonly (readonly [comment: string, ...values: (readonly [string, string])[]])[] = [
    [
      'Where the system is reached, and whom the certificate authority warns.',
      ['SITE_ADDRESS', domain],
      ['ACME_EMAIL', email],
    ],
    [
      'What the broker may store, in bytes: what the disk has for it, less a reserve.',
      ['NATS_STORE_BYTES', '10737418240'],
    ],
    [
      'Your mail provider, smtps://user:password@host, and who mails come from. Fill these in.',
      ['SMTP_URLS', ''],
      ['MAIL_FROM', ''],
    ],
    [
      'Keys of the object store; deploy/secrets/s3.json has them too.',
      ...Object.entries(s3Secrets).map(([service, secret]) => [`S3_${service.toUpperCase()}_SECRET`, secret] as const),
    ],
    [
      'Sign-in of the pages of operators: the user is `operator`, this is the hash of the password.',
      ['OPERATOR_PASSWORD_HASH', `'${await hash(operatorPassword, 12)}'`],
    ],
    ['The database of the history of jobs.', ['HISTORY_PASSWORD', newSecret()]],
    ["Grafana's user `admin`.", ['GRAFANA_ADMIN_PASSWORD', newSecret()]],
    [
      'Signs links to unsubscribe, and hashes mail addresses in logs.',
      ['UNSUBSCRIBE_SECRET', newSecret()],
      ['LOG_REDACTION_KEY', newSecret()],
    ],
  ];
  const env = lines.map(([comment, ...values]) => [
    `# ${comment}`,
    ...values.map(([name, value]) => `${name}=${value}`),
  ]);
  const identities = Object.entries(objectRights).map(([name, actions]) => ({
    name,
    credentials: [{ accessKey: name, secretKey: s3Secrets[name] }],
    actions,
  }));
  return {
    env: withPublicKeys(`${env.map((block) => block.join('\n')).join('\n\n')}\n`, natsKeys),
    s3: `${JSON.stringify({ identities }, undefined, 2)}\n`,
    operatorPassword,
  };
}
