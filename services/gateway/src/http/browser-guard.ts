import type { FastifyRequest } from 'fastify';
import { isIP } from 'node:net';
import { GatewayError } from '../errors.ts';
import type { App } from './app.ts';

/** What pages of other sites may not do with the gateway behind the back of who opened them. */
export interface BrowserGuard {
  /**
   * Names that the gateway answers to besides `localhost` and addresses; undefined for any name, where keys are asked
   * for: a page that rebinds its own name to the gateway's address has none.
   */
  readonly hosts: readonly string[] | undefined;
  /** Origins whose pages may call the gateway. */
  readonly origins: readonly string[];
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Refuses what a page of another site sends: browsers say where a request comes from, and other clients do not. */
export function useBrowserGuard(app: App, guard: BrowserGuard): void {
  /** The host that was admitted last: nearly always that of the next request. */
  let known: string | undefined;
  app.addHook('onRequest', (request, _reply, done) => {
    try {
      checkHosts(request);
      const { host = '' } = request.headers;
      if (host !== known) {
        checkHost(host, guard);
        known = host;
      }
      if (!SAFE.has(request.method) && request.route.config.anyOrigin !== true) checkOrigin(request, guard);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
}

function checkHosts({ raw }: FastifyRequest): void {
  if (hasTwoHosts(raw.rawHeaders))
    throw new GatewayError('invalid_request', 'The request has two Host headers. Send one.');
}

function checkHost(host: string, { hosts }: BrowserGuard): void {
  if (hosts === undefined) return;
  const name = hostName(host);
  if (name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0 || hosts.includes(name)) return;
  throw new GatewayError(
    'forbidden',
    `Keys are off, so the gateway answers to localhost and addresses, and not to the name ${JSON.stringify(name)}: add it to ALLOWED_HOSTS.`,
  );
}

/** Names and values take turns. */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return hosts > 1;
}

const hostName = (host: string): string =>
  host
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();

function checkOrigin(request: FastifyRequest, { origins }: BrowserGuard): void {
  const { origin, host = '', authorization, 'sec-fetch-site': site } = request.headers;
  if (origin !== undefined) {
    if (origins.includes(origin)) return;
    // Behind a proxy that speaks TLS the scheme differs, and the host stays.
    if (URL.parse(origin)?.host !== host.toLowerCase()) {
      throw new GatewayError(
        'forbidden',
        `A page of ${JSON.stringify(origin.slice(0, 200))} may not do this: add its origin to WEB_ORIGINS if it is yours.`,
      );
    }
    return;
  }
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new GatewayError('forbidden', 'A page of another site may not do this.');
  }
  // What no page can send without asking the gateway first.
  const asked = authorization !== undefined || site !== undefined || request.headers['x-requested-with'] !== undefined;
  if (request.route.config.bare !== true || asked) return;
  if (/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return;
  throw new GatewayError(
    'unsupported_media_type',
    'This takes no body, and a header that no form can send: content-type: application/json.',
  );
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True for routes that act without a body: any page could send such a request. */
    bare?: boolean;
    /** True for routes that any page or program may send a form to: what it carries proves that it may. */
    anyOrigin?: boolean;
  }
}
