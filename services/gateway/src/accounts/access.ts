import { createHash } from 'node:crypto';
import { GatewayError } from '../errors.ts';
import { localAccount, type Account } from './account.ts';
import type { KeyRing, Scope } from './api-keys.ts';
import type { LateRefusals } from './late-refusals.ts';
import type { Sessions } from './sessions.ts';
import type { RateLimiter, RatePolicy, RateVerdict } from './rate-limiter.ts';

export interface AccessSettings {
  /** Undefined: keys are off, and every caller is the local account. */
  readonly keys: KeyRing | undefined;
  /** Browsers that have signed in with a key; undefined while keys are off. */
  readonly sessions?: Sessions | undefined;
  readonly limiter: RateLimiter;
  readonly limits: AccessLimits;
  /** Undefined: every refusal is answered at once. */
  readonly refusals?: LateRefusals | undefined;
}

export interface AccessLimits {
  /** Requests that make jobs, of all accounts together. */
  readonly global: RatePolicy;
  /** The same of one account. */
  readonly account: RatePolicy;
  /** Mails to one recipient. */
  readonly recipient: RatePolicy;
}

/** Where headers of an answer go: a Fastify reply, the headers of an RPC, or nowhere. */
export interface HeaderTarget {
  getHeader(name: string): unknown;
  header(name: string, value: string): unknown;
}

/** For what has no answer of its own whose headers could tell how much of a limit is left. */
export const noHeaders: HeaderTarget = { getHeader: () => undefined, header: () => undefined };

/**
 * The account behind an `Authorization` header, if it may do what `scope` names.
 *
 * @throws {GatewayError} `unauthenticated` or `forbidden`.
 */
export function admitAccount(
  keys: KeyRing | undefined,
  authorization: string | undefined,
  scope: Scope,
  reply: HeaderTarget,
): Account {
  const account = keys === undefined ? localAccount : accountOf(authorization, keys, reply);
  checkScope(account.scopes, scope);
  return account;
}

/** @throws {GatewayError} `forbidden` when what a key may do does not include what the scope names. */
export function checkScope(scopes: Account['scopes'], scope: Scope): void {
  if (!scopes.has('*') && !scopes.has(scope)) {
    throw new GatewayError('forbidden', `This needs a key with the scope ${scope}.`);
  }
}

/** Whether requests are counted at all: by default they are not. */
export const countsRequests = ({ account, global }: AccessLimits): boolean => account.limit > 0 || global.limit > 0;

/**
 * Counts requests that make jobs, or events, against the limit of their account and that of all together: in this order,
 * so that what an account is refused for its own takes nothing from the others.
 *
 * @throws {GatewayError} `rate_limited`.
 */
export async function countRequest(
  { limiter, limits }: Pick<AccessSettings, 'limiter' | 'limits'>,
  account: Account,
  reply: HeaderTarget,
  count = 1,
): Promise<void> {
  report(reply, await limiter.take(limits.account, account.id, count));
  report(reply, await limiter.take(limits.global, 'all', count));
}

/**
 * Waits before a refusal is told to a caller that goes on although it was refused: over its rate, or without a live key,
 * which all such callers are told together. Undefined for a refusal that is told at once.
 */
export function beforeRefusal(
  { refusals }: AccessSettings,
  error: unknown,
  account?: Account,
): Promise<void> | undefined {
  const code = error instanceof GatewayError ? error.code : undefined;
  if (code === 'rate_limited' && account !== undefined) return refusals?.hold(account.id);
  return code === 'unauthenticated' ? refusals?.hold('') : undefined;
}

/**
 * Refuses a request with more events or mails than a window ever has room for: before each of them is looked at.
 *
 * @param what they are, for the caller.
 * @throws {GatewayError} `payload_too_large`.
 */
export function refuseTooMany(
  { limits }: Pick<AccessSettings, 'limits'>,
  count: number,
  what: 'events' | 'mails',
): void {
  for (const { limit, windowMs } of [limits.global, limits.account]) {
    if (limit > 0 && count > limit) {
      throw new GatewayError(
        'payload_too_large',
        `The request has ${count} ${what}, and the rate limit is ${limit} in ${windowMs / 1000} s: send at most ${limit} at once.`,
      );
    }
  }
}

/**
 * Counts the events or mails of a request whose first one was counted before its body was read.
 *
 * @throws {GatewayError} `rate_limited`, or what `refuseTooMany` throws.
 */
export async function countItems(
  access: AccessSettings,
  account: Account,
  reply: HeaderTarget,
  count: number,
  what: 'events' | 'mails',
): Promise<void> {
  refuseTooMany(access, count, what);
  if (count > 1) await countRequest(access, account, reply, count - 1);
}

/** Counts mails to recipients, whose names are stored as digests alone, and tells the client of it in its answer. */
export function recipientCounter(
  { limiter, limits }: Pick<AccessSettings, 'limiter' | 'limits'>,
  reply: HeaderTarget,
): (address: string) => Promise<void> {
  return async (address) => {
    if (limits.recipient.limit <= 0) return;
    const who = createHash('sha256').update(address.toLowerCase()).digest('hex').slice(0, 32);
    report(reply, await limiter.take(limits.recipient, who));
  };
}

function accountOf(authorization: string | undefined, keys: KeyRing, reply: HeaderTarget): Account {
  const given = /^Bearer +([A-Za-z0-9_.~+/=-]{1,256})$/i.exec(authorization ?? '')?.[1];
  const record = given === undefined ? undefined : keys.find(given);
  if (record === undefined) {
    reply.header('www-authenticate', 'Bearer realm="sluice"');
    throw new GatewayError(
      'unauthenticated',
      given === undefined ? 'Send a key: Authorization: Bearer <key>.' : 'This key is not known.',
    );
  }
  return { id: record.account, scopes: new Set(record.scopes) };
}

/** Tells the client where it stands (draft-ietf-httpapi-ratelimit-headers-10), and refuses what is over. */
function report(reply: HeaderTarget, { policy, allowed, remaining, resetMs }: RateVerdict): void {
  if (policy.limit <= 0) return;
  const seconds = Math.ceil(resetMs / 1000);
  append(reply, 'RateLimit-Policy', `"${policy.name}";q=${policy.limit};w=${Math.ceil(policy.windowMs / 1000)}`);
  append(reply, 'RateLimit', `"${policy.name}";r=${remaining};t=${seconds}`);
  if (allowed) return;
  throw new GatewayError('rate_limited', `More than ${policy.limit} requests in ${policy.windowMs / 1000} s.`, {
    retryAfterSeconds: seconds,
  });
}

function append(reply: HeaderTarget, name: string, item: string): void {
  const before = reply.getHeader(name);
  // A request may be counted twice against one policy: what is left after the second time is what counts.
  const policy = item.slice(0, item.indexOf(';') + 1);
  const others = typeof before === 'string' ? before.split(', ').filter((each) => !each.startsWith(policy)) : [];
  reply.header(name, [...others, item].join(', '));
}
