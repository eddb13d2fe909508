import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { buckets, openBucket, valueOf, watchBucket, type Bus } from '@sluice/messaging';
import { digestOf, type ApiKeyRecord, type KeyRing } from './api-keys.ts';

/** How long a session lasts, used or not: a working day. */
export const SESSION_MS = buckets.sessions.ttlMs;
/** Browsers that may be signed in with one key. */
export const SESSIONS_PER_KEY = 20;

/** A session as it is stored. Its name is the digest of its token, which only the browser has. */
interface SessionRecord {
  readonly keyDigest: string;
  readonly startedMs: number;
}

const isRecord = (value: object): value is SessionRecord =>
  'keyDigest' in value &&
  typeof value.keyDigest === 'string' &&
  'startedMs' in value &&
  typeof value.startedMs === 'number';

/** A browser that has signed in with a key. */
export interface Session {
  /** The key that it has signed in with, as it is now. */
  readonly key: ApiKeyRecord;
  /** What each request that changes something has to carry. Made of the token, so no other session has it. */
  readonly csrfToken: string;
  readonly expiresMs: number;
}

/** The sessions of the console. Each ends with its time, its key, or when the browser signs out. */
export interface Sessions {
  /** Undefined for a key that is not known. */
  start(key: string): Promise<(Session & { readonly token: string }) | undefined>;
  /** The session of a token, if it is one and lives. */
  find(token: string): Promise<Session | undefined>;
  end(token: string): Promise<void>;
  close(): Promise<void>;
}

const TOKEN = /^[\w-]{43}$/;
const csrfTokenOf = (token: string): string => createHash('sha256').update(`csrf ${token}`).digest('base64url');

/** Whether a request carries the token of its session. */
export function isCsrfToken(session: Session, given: string | undefined): boolean {
  const wanted = Buffer.from(session.csrfToken);
  const found = Buffer.from(given ?? '');
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}

/**
 * Opens the sessions. All of them are held in memory, at most `SESSIONS_PER_KEY` for each key, so checking one costs no
 * round trip; the store drops each when its time is over.
 */
export async function openSessions(
  nc: Bus['nc'],
  keys: KeyRing,
  { now, onError }: { readonly now: () => number; readonly onError?: (error: unknown, what: string) => void },
): Promise<Sessions> {
  const kv = await openBucket(nc, buckets.sessions);
  const known = new Map<string, SessionRecord>();
  const watch = await watchBucket(nc, buckets.sessions, {
    isValue: isRecord,
    onEntry(digest, record) {
      if (record === undefined) known.delete(digest);
      else known.set(digest, record);
    },
    ...(onError === undefined ? {} : { onError }),
  });
  const isLive = ({ startedMs }: SessionRecord): boolean => startedMs + SESSION_MS > now();
  const remove = async (digest: string): Promise<void> => {
    known.delete(digest);
    await kv.purge(digest);
  };
  const sessionOf = (token: string, record: SessionRecord): Session | undefined => {
    const key = keys.byDigest(record.keyDigest);
    if (key === undefined || !isLive(record)) return undefined;
    return { key, csrfToken: csrfTokenOf(token), expiresMs: record.startedMs + SESSION_MS };
  };

  return {
    async start(key) {
      const keyDigest = digestOf(key);
      if (keys.byDigest(keyDigest) === undefined) return undefined;
      // The store tells of an entry that has expired only when its watch begins anew.
      for (const [digest, record] of known) if (!isLive(record)) known.delete(digest);
      const others = [...known].filter(([, record]) => record.keyDigest === keyDigest);
      others.sort(([, a], [, b]) => b.startedMs - a.startedMs);
      for (const [digest] of others.slice(SESSIONS_PER_KEY - 1)) await remove(digest);
      const token = randomBytes(32).toString('base64url');
      const record: SessionRecord = { keyDigest, startedMs: now() };
      await kv.create(digestOf(token), JSON.stringify(record));
      known.set(digestOf(token), record);
      const session = sessionOf(token, record);
      return session === undefined ? undefined : { ...session, token };
    },
    async find(token) {
      if (!TOKEN.test(token)) return undefined;
      const digest = digestOf(token);
      // A session that another replica has just started may not have been told of yet.
      const record = known.get(digest) ?? valueOf(await kv.get(digest), isRecord);
      return record === undefined ? undefined : sessionOf(token, record);
    },
    async end(token) {
      if (TOKEN.test(token)) await remove(digestOf(token));
    },
    close: () => watch.stop(),
  };
}
