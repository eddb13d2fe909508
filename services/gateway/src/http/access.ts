import type { FastifyReply, FastifyRequest } from 'fastify';
import { localAccount, type Account } from '../accounts/account.ts';
import { GatewayError } from '../errors.ts';
import {
  admitAccount,
  beforeRefusal,
  checkScope,
  countRequest,
  countsRequests,
  type AccessSettings,
} from '../accounts/access.ts';
import { isCsrfToken, type Sessions } from '../accounts/sessions.ts';
import { sessionToken } from './session-cookie.ts';
import type { Scope } from '../accounts/api-keys.ts';
import type { App } from './app.ts';

declare module 'fastify' {
  interface FastifyRequest {
    account: Account;
  }
  interface FastifyContextConfig {
    /** What a key needs for this route; `public` for none. Every route names one, or the gateway does not start. */
    scope?: Scope | 'public';
    /** True for routes that make jobs: the rate limits count them. */
    limited?: boolean;
  }
}

/** Before a key was checked. */
const noAccount: Account = { id: '', scopes: new Set() };

/**
 * Checks every request before its body is read: its key, the key's scope, and on routes that make jobs the limit of all
 * requests together and that of the account.
 */
export function useAccess(app: App, access: AccessSettings): void {
  app.decorateRequest('account');
  /** Undefined for a request that is answered by now, a promise for one whose session has to be looked up. */
  const identify = (request: FastifyRequest, reply: FastifyReply): Promise<void> | undefined => {
    const { scope } = request.route.config;
    // There is nothing behind an address that no route has.
    if (scope === 'public' || request.is404) return undefined;
    // A route without a scope admits no caller.
    if (scope === undefined) throw new GatewayError('forbidden', 'No key may use this.');
    const { authorization } = request.headers;
    const token = authorization === undefined ? sessionToken(request) : undefined;
    if (token !== undefined && access.sessions !== undefined) {
      return admitSession(access.sessions, request, token, scope);
    }
    request.account = admitAccount(access.keys, authorization, scope, reply);
    return undefined;
  };
  const limit = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    try {
      await countRequest(access, request.account, reply);
    } catch (error) {
      await beforeRefusal(access, error, request.account);
      throw error;
    }
  };
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === undefined && route.method !== 'HEAD' && route.url !== '*') {
      throw new Error(`${String(route.method)} ${route.url} names no scope: say which key may use it, or 'public'`);
    }
    // Every route without a body that changes something.
    if (route.method === 'POST' && route.schema?.body === undefined && route.config?.bodyHolds === undefined) {
      route.config = { ...route.config, bare: true };
    }
    if (route.config?.limited === true && countsRequests(access.limits)) {
      const given = route.onRequest;
      route.onRequest = [limit, ...(given === undefined ? [] : Array.isArray(given) ? given : [given])];
    }
  });
  // Not async: most requests have nothing to wait for, and a promise per hook shows in the rate of the ingest.
  app.addHook('onRequest', (request, reply, done) => {
    request.account = access.keys === undefined ? localAccount : noAccount;
    try {
      const pending = identify(request, reply);
      if (pending === undefined) done();
      else void report(pending, done);
    } catch (error) {
      const wait = beforeRefusal(access, error);
      if (wait === undefined) done(error as Error);
      else void report(failAfter(wait, error), done);
    }
  });
}

async function failAfter(wait: Promise<void>, error: unknown): Promise<never> {
  await wait;
  throw error;
}

async function report(pending: Promise<void>, done: (error?: Error) => void): Promise<void> {
  let refusal: Error | undefined;
  try {
    await pending;
  } catch (error) {
    refusal = error as Error;
  }
  done(refusal);
}

/** Takes a browser's session for its key. What changes something has to prove besides that the console asks for it. */
async function admitSession(sessions: Sessions, request: FastifyRequest, token: string, scope: Scope): Promise<void> {
  const session = await sessions.find(token);
  if (session === undefined) throw new GatewayError('unauthenticated', 'The session has ended: sign in again.');
  const reads = request.method === 'GET' || request.method === 'HEAD';
  if (!reads && !isCsrfToken(session, request.headers['x-csrf-token']?.toString())) {
    throw new GatewayError(
      'forbidden',
      'A session changes nothing without its X-CSRF-Token: GET /v1/session names it.',
    );
  }
  const account: Account = { id: session.key.account, scopes: new Set(session.key.scopes) };
  checkScope(account.scopes, scope);
  request.account = account;
}
