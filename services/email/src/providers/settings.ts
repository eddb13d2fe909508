import { z } from 'zod';

interface AnyProvider {
  /** In metrics, spans and results. */
  readonly name: string;
  readonly connections?: number | undefined;
  /** Mails per second at most; no limit when absent. */
  readonly perSecond?: number | undefined;
}

/** A provider over SMTP, as its URL describes it. */
export interface SmtpProvider extends AnyProvider {
  readonly kind: 'smtp';
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte (`smtps:`). */
  readonly implicitTls: boolean;
  /** STARTTLS or nothing: a provider that does not offer it, or shows a bad certificate, is not used. */
  readonly requireTls: boolean;
  readonly auth?: { readonly user: string; readonly pass: string };
}

/** A provider over HTTP. */
export type HttpProvider = AnyProvider & { readonly endpoint: URL } & (
    | {
        readonly kind: 'ses';
        readonly region: string;
        readonly accessKeyId: string;
        readonly secretAccessKey: string;
        readonly configurationSet: string | undefined;
      }
    | { readonly kind: 'postmark'; readonly token: string; readonly stream: string | undefined }
    | { readonly kind: 'sendgrid'; readonly key: string }
  );

export type ProviderSettings = SmtpProvider | HttpProvider;

const common = {
  name: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/)
    .optional(),
  connections: z.coerce.number().int().min(1).max(1_000).optional(),
  perSecond: z.coerce.number().positive().optional(),
};
const token = z.string().regex(/^[\w-]{1,64}$/);
/** Another host that speaks the same API: a private endpoint, or a stand-in. */
const endpoint = z.url().optional();
const options = {
  smtp: z.strictObject({ ...common, tls: z.enum(['required', 'off']).optional() }),
  ses: z.strictObject({ ...common, endpoint, configurationSet: token.optional() }),
  postmark: z.strictObject({ ...common, endpoint, stream: token.optional() }),
  sendgrid: z.strictObject({ ...common, endpoint, region: z.enum(['global', 'eu']).default('global') }),
};

const FORMS =
  'must be smtp://[user:pass@]host[:port], smtps://…, ses://KEY:SECRET@region, postmark://TOKEN@ or sendgrid://KEY@';
/** `region` becomes part of a host name: it must not be able to name another. */
const AWS_REGION = /^[a-z]{2,4}(?:-[a-z]+){1,3}-\d{1,2}$/;

/**
 * Reads an ordered list of providers: `smtp://user:pass@host:587?name=a&connections=10&perSecond=50,smtps://…`.
 * `smtps:` is TLS from the first byte, `smtp:` upgrades by STARTTLS; `tls=off` allows plain text, which is the default
 * only where `requireTls` is false. `ses://KEY:SECRET@eu-west-1`, `postmark://TOKEN@` and `sendgrid://KEY@` are APIs over
 * HTTPS.
 *
 * @throws {Error} naming the entry by its position: a URL holds a password.
 */
export function parseProviders(urls: string, requireTls: boolean): ProviderSettings[] {
  const entries = urls.split(',').map((entry) => entry.trim());
  const providers = entries.map((entry, at) => parseProvider(entry, at, requireTls));
  if (new Set(providers.map(({ name }) => name)).size < providers.length) throw new Error('two providers share a name');
  return providers;
}

function parseProvider(entry: string, at: number, requireTls: boolean): ProviderSettings {
  const fail = (problem: string): never => {
    throw new Error(`provider ${at + 1}: ${problem}`);
  };
  // A URL with a login needs a host, and these have the one.
  const text = entry.replace(/^((?:postmark|sendgrid):\/\/[^@/?#]+@)(?=\?|$)/, '$1api');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === '') return fail(FORMS);
  const read = <T>(schema: z.ZodType<T>): T => {
    const found = schema.safeParse(Object.fromEntries(url.searchParams));
    if (found.success) return found.data;
    const problems = found.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`);
    return fail(problems.join('; '));
  };
  const credential = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      return fail('its login has a % that is not part of an escape: write it as %25');
    }
  };
  const [user, pass] = [credential(url.username), credential(url.password)];
  const letter = String.fromCodePoint(0x61 + at);
  const endpointOf = (given: string | undefined, usual: string): URL => {
    const found = new URL(given ?? usual);
    const isPlain = found.protocol === 'http:' && !requireTls;
    if (found.protocol !== 'https:' && !isPlain) fail('endpoint: must be https');
    if (found.username !== '' || found.search !== '' || found.pathname !== '/') {
      fail('endpoint: must be a scheme, a host and a port');
    }
    return found;
  };
  /** A header of HTTP: nothing that could begin another. */
  const key = (text_: string): string =>
    /^[\x21-\x7e]{1,512}$/.test(text_) ? text_ : fail('its key must be printable ASCII without spaces');

  switch (url.protocol) {
    case 'smtp:':
    case 'smtps:': {
      const { tls, ...rest } = read(options.smtp);
      const implicitTls = url.protocol === 'smtps:';
      return {
        ...rest,
        kind: 'smtp',
        name: rest.name ?? letter,
        host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: url.port === '' ? (implicitTls ? 465 : 587) : Number(url.port),
        implicitTls,
        requireTls: tls === undefined ? requireTls : tls === 'required',
        ...(url.username === '' ? {} : { auth: { user, pass } }),
      };
    }
    case 'ses:': {
      const region = url.hostname;
      const { endpoint: given, configurationSet, ...rest } = read(options.ses);
      if (!AWS_REGION.test(region)) fail('the host of ses:// must be a region, as eu-west-1');
      if (user === '' || pass === '') fail('ses:// needs KEY:SECRET; write / in them as %2F');
      return {
        ...rest,
        kind: 'ses',
        name: rest.name ?? letter,
        endpoint: endpointOf(given, `https://email.${region}.amazonaws.com`),
        region,
        accessKeyId: key(user),
        secretAccessKey: key(pass),
        configurationSet,
      };
    }
    case 'postmark:': {
      const { endpoint: given, stream, ...rest } = read(options.postmark);
      return {
        ...rest,
        kind: 'postmark',
        name: rest.name ?? letter,
        endpoint: endpointOf(given, 'https://api.postmarkapp.com'),
        token: key(user),
        stream,
      };
    }
    case 'sendgrid:': {
      const { endpoint: given, region, ...rest } = read(options.sendgrid);
      const host = region === 'eu' ? 'api.eu.sendgrid.com' : 'api.sendgrid.com';
      return {
        ...rest,
        kind: 'sendgrid',
        name: rest.name ?? letter,
        endpoint: endpointOf(given, `https://${host}`),
        key: key(user),
      };
    }
    default:
      return fail(FORMS);
  }
}
