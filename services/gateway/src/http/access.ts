import type { FastifyReply, FastifyRequest } from 'fastify';
import { localAccount, type Account } from '../accounts/account.ts';
import { GatewayError } from '../errors.ts';
import { admitAccount, countRequest, type AccessSettings } from '../accounts/access.ts';
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
  const identify = (request: FastifyRequest, reply: FastifyReply): void => {
    const { scope } = request.routeOptions.config;
    // There is nothing behind an address that no route has.
    if (scope === 'public' || request.is404) return;
    // A route without a scope admits no caller.
    if (scope === undefined) throw new GatewayError('forbidden', 'No key may use this.');
    request.account = admitAccount(access.keys, request.headers.authorization, scope, reply);
  };
  const limit = (request: FastifyRequest, reply: FastifyReply): Promise<void> =>
    countRequest(access, request.account, reply);
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === undefined && route.method !== 'HEAD' && route.url !== '*') {
      throw new Error(`${String(route.method)} ${route.url} names no scope: say which key may use it, or 'public'`);
    }
    // Every route without a body that changes something.
    if (route.method === 'POST' && route.schema?.body === undefined && route.config?.bodyHolds === undefined) {
      route.config = { ...route.config, bare: true };
    }
    if (route.config?.limited === true) {
      const given = route.onRequest;
      route.onRequest = [limit, ...(given === undefined ? [] : Array.isArray(given) ? given : [given])];
    }
  });
  // Not async: most requests have nothing to wait for, and a promise per hook shows in the rate of the ingest.
  app.addHook('onRequest', (request, reply, done) => {
    request.account = access.keys === undefined ? localAccount : noAccount;
    try {
      identify(request, reply);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  });
}
