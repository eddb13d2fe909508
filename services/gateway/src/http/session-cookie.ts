import type { FastifyReply, FastifyRequest } from 'fastify';

const NAME = 'sluice_session';

/** The token of the session that a browser sends; undefined when there is none. */
export function sessionToken(request: FastifyRequest): string | undefined {
  const { cookie } = request.headers;
  if (cookie === undefined) return undefined;
  return new RegExp(`(?:^|;\\s*)${NAME}=([\\w-]+)`).exec(cookie)?.[1];
}

/**
 * Gives a browser its session, or takes it back with `seconds` 0. No script reads it, no page of another site sends it,
 * and where the page came over https it never travels without: the browser says in `Origin` how that was, also where a
 * proxy ends TLS before the gateway.
 */
export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, token: string, seconds: number): void {
  const isHttps = request.headers.origin?.startsWith('https://') ?? false;
  reply.header(
    'set-cookie',
    `${NAME}=${token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${isHttps ? '; Secure' : ''}`,
  );
}
