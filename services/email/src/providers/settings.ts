import { z } from 'zod';

/** One SMTP provider, as its URL describes it. */
export interface ProviderSettings {
  /** In metrics, spans and results. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte (`smtps:`). */
  readonly implicitTls: boolean;
  /** STARTTLS or nothing: a provider that does not offer it, or shows a bad certificate, is not used. */
  readonly requireTls: boolean;
  readonly auth?: { readonly user: string; readonly pass: string };
  readonly connections?: number;
  /** Mails per second at most; no limit when absent. */
  readonly perSecond?: number;
}

const options = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/)
    .optional(),
  tls: z.enum(['required', 'off']).optional(),
  connections: z.coerce.number().int().min(1).max(1_000).optional(),
  perSecond: z.coerce.number().positive().optional(),
});

/**
 * Reads an ordered list of providers: `smtp://user:pass@host:587?name=a&connections=10&perSecond=50,smtps://…`.
 * `smtps:` is TLS from the first byte, `smtp:` upgrades by STARTTLS; `tls=off` allows plain text, which is the default
 * only where `requireTls` is false.
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
  const where = `provider ${at + 1}`;
  const url = URL.canParse(entry) ? new URL(entry) : undefined;
  if (url === undefined || !['smtp:', 'smtps:'].includes(url.protocol) || url.hostname === '') {
    throw new Error(`${where}: must be smtp://[user:pass@]host[:port] or smtps://…`);
  }
  const read = options.safeParse(Object.fromEntries(url.searchParams));
  if (!read.success) {
    const problems = read.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`);
    throw new Error(`${where}: ${problems.join('; ')}`);
  }
  const { name = String.fromCodePoint(0x61 + at), tls, connections, perSecond } = read.data;
  const implicitTls = url.protocol === 'smtps:';
  return {
    name,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (implicitTls ? 465 : 587) : Number(url.port),
    implicitTls,
    requireTls: tls === undefined ? requireTls : tls === 'required',
    ...(url.username === ''
      ? {}
      : { auth: { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) } }),
    ...(connections === undefined ? {} : { connections }),
    ...(perSecond === undefined ? {} : { perSecond }),
  };
}
