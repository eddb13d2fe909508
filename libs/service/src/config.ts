import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** The settings of a service do not fit. One error that lists everything wrong, so that all of it is fixed in one go. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'config_invalid';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`the configuration is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

/** Well-known passwords, and those that the files of this repository have for one's own machine. They open nothing outside `dev`. */
export const knownSecrets: ReadonlySet<string> = new Set([
  'minioadmin',
  'admin',
  'changeme',
  'password',
  'secret',
  'sluice-dev',
  'sluice-dev-secret',
]);

/** Passwords in a comma-separated list of URLs, as `postgres://user:password@host/database` has one. */
const passwordsIn = (urls: string): readonly string[] =>
  urls.split(',').flatMap((url) => (URL.canParse(url.trim()) ? [new URL(url.trim()).password] : []));

/** Whether a setting opens something, and does so with a password that is public. */
const isKnown = (name: string, value: string): boolean =>
  (/(?:SECRET|PASSWORD|KEY)(?!_ID$)/.test(name) && knownSecrets.has(value)) ||
  passwordsIn(value).some((password) => knownSecrets.has(password));

/**
 * Reads a service's settings from the environment. `NAME_FILE` names a file that holds the value of `NAME`, as secret
 * stores mount them. An empty value counts as absent.
 *
 * @throws {ConfigError} listing every problem.
 */
export function loadConfig<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: Readonly<Record<string, string | undefined>> = process.env,
): z.infer<z.ZodObject<Shape>> {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(shape)) {
    const value = env[name];
    const file = env[`${name}_FILE`];
    if (value !== undefined && value !== '') values[name] = value;
    else if (file !== undefined && file !== '') {
      try {
        values[name] = readFileSync(file, 'utf8').trimEnd();
      } catch (error) {
        problems.push(`${name}_FILE: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  if (env['SLUICE_ENV'] !== 'dev') {
    for (const [name, value] of Object.entries(values)) {
      if (isKnown(name, value)) {
        problems.push(`${name}: is a well-known default; set one of your own (or SLUICE_ENV=dev on your own machine)`);
      }
    }
  }
  const parsed = z.object(shape).safeParse(values);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const name = issue.path.join('.');
      problems.push(`${name}: ${values[name] === undefined ? 'is not set' : issue.message}`);
    }
  }
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  return parsed.data;
}

const port = z.coerce.number().int().min(0).max(65_535);
const ms = z.coerce.number().int().positive();
/** `true`, `1`, `yes`, `on` and their opposites. */
export const flag = z.stringbool();

/** What every service takes. */
export const serviceFields = {
  /** `dev` opens what must be closed elsewhere: no keys, known secrets, plain text to the mail server. */
  SLUICE_ENV: z.enum(['dev', 'production']).default('production'),
  /** The least level that is logged. */
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
  /** The address that every listener of the process binds to. */
  HOST: z.string().default('127.0.0.1'),
  /** Health, readiness and metrics: an internal port, never published. */
  OPS_PORT: port.default(9464),
  /** How long running work may take to end after SIGTERM. Keep it under the orchestrator's grace period. */
  DRAIN_TIMEOUT_MS: ms.default(25_000),
  /** Tells replicas apart; the host name and process id when absent. */
  INSTANCE: z.string().optional(),
  /** Where traces and logs are sent, as OTLP over HTTP. Absent: nowhere. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
  /** The share of traces begun here that is recorded; a caller's own decision is followed. */
  TRACE_SAMPLE_RATIO: z.coerce.number().min(0).max(1).default(1),
  /** `parent`: one job is one trace. `link`: every message begins a trace that links to its publisher's. */
  PIPELINE_TRACE_MODE: z.enum(['parent', 'link']).default('parent'),
  /** Key of the hashes that stand for mail addresses in logs: the same in all services makes them comparable. */
  LOG_REDACTION_KEY: z.string().min(16).optional(),
};

/** What a service that talks to NATS takes. */
export const natsFields = {
  /** Servers, comma separated; `tls://` asks for TLS. */
  NATS_URL: z.string().default('nats://127.0.0.1:4222'),
  /** User and password, where the server asks for these. With a seed: whose inbox a command of operators reads. */
  NATS_USER: z.string().optional(),
  /** Belongs to NATS_USER. */
  NATS_PASSWORD: z.string().optional(),
  /** The seed of an NKey, in place of user and password; best given as NATS_NKEY_SEED_FILE. */
  NATS_NKEY_SEED: z.string().optional(),
  /** Path of a `.creds` file (JWT and seed), in place of user and password. */
  NATS_CREDENTIALS: z.string().optional(),
  /** Path of a CA file, for servers whose certificate no public authority signed. Its presence demands TLS. */
  NATS_CA: z.string().optional(),
};

/** What a service that reads or writes objects takes. */
export const storeFields = {
  /** Absent for AWS itself. */
  S3_ENDPOINT: z.url().optional(),
  /** Where a browser reaches the store; presigned URLs are signed for it. S3_ENDPOINT when absent. */
  S3_PUBLIC_ENDPOINT: z.url().optional(),
  /** The region that requests are signed for. */
  S3_REGION: z.string().default('us-east-1'),
  /** The bucket of sources and PDFs. The gateway makes it when it is not there. */
  S3_BUCKET: z.string().default('sluice'),
  /** The id of the access key. */
  S3_ACCESS_KEY_ID: z.string(),
  /** The secret of the access key. */
  S3_SECRET_ACCESS_KEY: z.string(),
};

/** The kinds of values that services' own fields are made of. */
export const fields = { port, ms, flag, count: z.coerce.number().int().positive() };
