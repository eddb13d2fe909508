import { hash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';

/** The request header of routes that are asked again and again. */
export const conditionalHeaders = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({ maxLength: 1_024, description: 'The `ETag` of what is known already: 304 if nothing has changed.' }),
  ),
});

/** The answer to a client that has it already. */
export const notModified = {
  304: {
    description: 'Nothing has changed.',
    headers: { ETag: { type: 'string', description: 'As it was given before.' } },
  },
} as const;

/**
 * The body with its `ETag`, or 304 without one when the client has just that (RFC 9110, section 13): who polls a job pays
 * for its transfer once per change. Answers are of one account, so no shared cache may keep them.
 */
export function unlessKnown<Body extends object>(request: FastifyRequest, reply: FastifyReply, body: Body): Body {
  // Written once: what is sent is what has the tag. A test holds every answer to its schema.
  const text = JSON.stringify(body);
  const etag = `"${hash('sha1', text, 'base64url')}"`;
  reply.header('etag', etag).header('cache-control', 'private, no-cache');
  // The reply is sent; Fastify takes itself as the sign of that.
  if (names(request.headers['if-none-match'], etag)) return reply.code(304).send() as never;
  return reply.type('application/json; charset=utf-8').send(text) as never;
}

/** Whether the header names the tag, or any. Weak tags count: it is for reading alone. */
function names(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((each) => [etag, `W/${etag}`, '*'].includes(each.trim()));
}
