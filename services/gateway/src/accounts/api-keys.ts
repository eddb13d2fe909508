import { createHash, randomBytes } from 'node:crypto';
import type { KV } from '@nats-io/kv';
import { isSubjectToken } from '@sluice/contracts';
import { buckets, valueOf, watchBucket, type Bus } from '@sluice/messaging';

/** What a key may do. Each route names the one it needs. */
export const scopes = [
  'jobs:write',
  'jobs:read',
  'events:write',
  'events:read',
  'account:read',
  'webhooks:secrets',
  'erasures',
  'templates:write',
  'mail:reports',
  'emails:copies',
  'keys',
  'admin',
] as const;
export type Scope = (typeof scopes)[number];

/** Scopes that a key gets only when they are named. */
export const namedScopes: ReadonlySet<Scope> = new Set([
  'admin',
  'webhooks:secrets',
  'erasures',
  'mail:reports',
  'emails:copies',
  'keys',
]);

/** A key as it is stored: never the key itself, only its digest, which is the name of the entry. */
export interface ApiKeyRecord {
  /** The first characters, to tell keys apart. */
  readonly prefix: string;
  readonly account: string;
  readonly scopes: readonly Scope[];
  readonly createdAt: string;
}

const isRecord = (value: object): value is ApiKeyRecord =>
  ['prefix', 'account', 'scopes', 'createdAt'].every((field) => field in value);

export interface ListedKey extends ApiKeyRecord {
  readonly digest: string;
}

/** An account may have two live keys: the old one and the one that replaces it. */
export const LIVE_KEYS = 2;

/** A key cannot be made or taken back as asked. */
export class ApiKeyError extends Error {
  override readonly name = 'ApiKeyError';
  readonly code: 'account_invalid' | 'scope_unknown' | 'too_many_keys' | 'key_unknown';
  constructor(code: ApiKeyError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** The name that a secret is stored under. */
export const digestOf = (key: string): string => createHash('sha256').update(key).digest('hex');

/**
 * Makes a key for an account: 256 random bits, shown once.
 *
 * @param options.known the live keys, where they are at hand: all are read from the store otherwise.
 * @throws {ApiKeyError}
 */
export async function createKey(
  kv: KV,
  account: string,
  wanted: readonly string[],
  { now = new Date(), known }: { readonly now?: Date; readonly known?: KeyRing | undefined } = {},
): Promise<{ key: string; record: ApiKeyRecord }> {
  if (!isSubjectToken(account))
    throw new ApiKeyError('account_invalid', 'an account is 1 to 128 letters, digits, "-" and "_"');
  const unknown = wanted.filter((scope) => !scopes.includes(scope as Scope));
  if (unknown.length > 0 || wanted.length === 0) {
    throw new ApiKeyError('scope_unknown', `scopes are ${scopes.join(', ')}; got ${wanted.join(', ') || 'none'}`);
  }
  const live = known?.ofAccount(account) ?? (await listKeys(kv)).filter((record) => record.account === account);
  if (live.length >= LIVE_KEYS) {
    throw new ApiKeyError(
      'too_many_keys',
      `${account} has ${live.length} live keys (${live.map((k) => k.prefix).join(', ')}): revoke one first`,
    );
  }
  const key = `sk_${randomBytes(32).toString('base64url')}`;
  const record: ApiKeyRecord = {
    prefix: key.slice(0, 11),
    account,
    scopes: wanted as Scope[],
    createdAt: now.toISOString(),
  };
  await kv.create(digestOf(key), JSON.stringify(record));
  known?.learn(digestOf(key), record);
  return { key, record };
}

/**
 * Takes a key back, by its prefix. Replicas know within milliseconds.
 *
 * @throws {ApiKeyError} when no key, or more than one, begins so.
 */
export async function revokeKey(kv: KV, prefix: string): Promise<ListedKey> {
  const found = (await listKeys(kv)).filter((record) => prefix.length >= 6 && record.prefix.startsWith(prefix));
  const [only] = found;
  if (only === undefined || found.length > 1) {
    throw new ApiKeyError('key_unknown', `${found.length} keys begin with ${prefix}`);
  }
  await kv.purge(only.digest);
  return only;
}

/** Every live key. */
export async function listKeys(kv: KV): Promise<ListedKey[]> {
  const found: ListedKey[] = [];
  for await (const digest of await kv.keys()) {
    const record = valueOf(await kv.get(digest), isRecord);
    if (record !== undefined) found.push({ digest, ...record });
  }
  return found.sort(byAge);
}

const byAge = (a: ApiKeyRecord, b: ApiKeyRecord): number => a.createdAt.localeCompare(b.createdAt);

/** The live keys, held in memory and kept current by the store: checking one costs no round trip. */
export interface KeyRing {
  /** The account behind a key, or undefined. */
  find(key: string): ApiKeyRecord | undefined;
  /** The account behind a key whose digest is at hand. */
  byDigest(digest: string): ApiKeyRecord | undefined;
  /** The keys of an account, oldest first. */
  ofAccount(account: string): readonly ListedKey[];
  /** Takes in what this process has just written, which the store tells of a moment later. Undefined for a revoked key. */
  learn(digest: string, record: ApiKeyRecord | undefined): void;
  close(): Promise<void>;
}

/** Opens the ring; it is complete when this resolves, and stays current. */
export async function openKeyRing(nc: Bus['nc'], onError?: (error: unknown, what: string) => void): Promise<KeyRing> {
  const ring = new Map<string, ApiKeyRecord>();
  const learn = (digest: string, record: ApiKeyRecord | undefined): void => {
    if (record === undefined) ring.delete(digest);
    else ring.set(digest, record);
  };
  const watch = await watchBucket(nc, buckets.apiKeys, {
    isValue: isRecord,
    onEntry: learn,
    ...(onError === undefined ? {} : { onError }),
  });
  return {
    // By digest: how long the lookup takes says nothing about the key.
    find: (key) => ring.get(digestOf(key)),
    byDigest: (digest) => ring.get(digest),
    ofAccount: (account) =>
      [...ring]
        .filter(([, record]) => record.account === account)
        .map(([digest, record]) => ({ digest, ...record }))
        .sort(byAge),
    learn,
    close: () => watch.stop(),
  };
}
