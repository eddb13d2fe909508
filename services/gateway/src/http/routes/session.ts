import { Type } from 'typebox';
import { localAccount } from '../../accounts/account.ts';
import type { AccessSettings } from '../../accounts/access.ts';
import { isCsrfToken, type Session } from '../../accounts/sessions.ts';
import { GatewayError } from '../../errors.ts';
import { DateTime } from '../../jobs/job-view.ts';
import type { App } from '../app.ts';
import { problemResponses } from '../problem.ts';
import { sessionToken, setSessionCookie } from '../session-cookie.ts';

const SessionView = Type.Object(
  {
    account: Type.String(),
    scopes: Type.Array(Type.String(), { description: '`*` for all, while keys are off.' }),
    csrfToken: Type.Optional(
      Type.String({ description: 'To be sent as `X-CSRF-Token` with everything but GET and HEAD.' }),
    ),
    expiresAt: Type.Optional(DateTime),
  },
  { additionalProperties: false },
);
const answer = (description: string) => ({ description, content: { 'application/json': { schema: SessionView } } });
const viewOf = ({ key, csrfToken, expiresMs }: Session) => ({
  account: key.account,
  scopes: [...key.scopes],
  csrfToken,
  expiresAt: new Date(expiresMs).toISOString(),
});

/** `/v1/session`: a browser signs in with a key and gets a cookie in its place. Programs send their key themselves. */
export function sessionRoutes(
  app: App,
  deps: { readonly access: Pick<AccessSettings, 'sessions'>; readonly now: () => number },
): void {
  const tags = ['account'];
  const config = { scope: 'public' } as const;
  app.post(
    '/v1/session',
    {
      config,
      schema: {
        operationId: 'startSession',
        summary: 'Sign a browser in with an API key',
        description:
          'Answers with a cookie that stands for the key for half a day, as long as the key lives. For pages alone.',
        tags,
        body: Type.Object({ key: Type.String({ minLength: 1, maxLength: 256 }) }, { additionalProperties: false }),
        response: { 201: answer('Signed in.'), ...problemResponses('unsupported_media_type') },
      },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store');
      const started = await deps.access.sessions?.start(request.body.key);
      if (started === undefined) throw new GatewayError('unauthenticated', 'This key is not known.');
      setSessionCookie(request, reply, started.token, Math.floor((started.expiresMs - deps.now()) / 1000));
      reply.code(201);
      return viewOf(started);
    },
  );
  app.get(
    '/v1/session',
    {
      config,
      schema: {
        operationId: 'getSession',
        summary: 'Who is signed in, and what they may do',
        tags,
        response: { 200: answer('The session.'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store');
      const { sessions } = deps.access;
      if (sessions === undefined) return { account: localAccount.id, scopes: [...localAccount.scopes] };
      const session = await sessions.find(sessionToken(request) ?? '');
      if (session === undefined) throw new GatewayError('unauthenticated', 'No one is signed in.');
      return viewOf(session);
    },
  );
  app.delete(
    '/v1/session',
    {
      config,
      schema: {
        operationId: 'endSession',
        summary: 'Sign out',
        tags,
        response: { 204: { description: 'Signed out.' }, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const token = sessionToken(request) ?? '';
      const { sessions } = deps.access;
      const session = await sessions?.find(token);
      if (session !== undefined && !isCsrfToken(session, request.headers['x-csrf-token']?.toString())) {
        throw new GatewayError('forbidden', 'Signing out needs the X-CSRF-Token of the session.');
      }
      await sessions?.end(token);
      setSessionCookie(request, reply, '', 0);
      return reply.code(204).send();
    },
  );
}
