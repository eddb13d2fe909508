import { Type } from 'typebox';
import { LIVE_KEYS, scopes, type ApiKeyRecord } from '../../accounts/api-keys.ts';
import type { OwnKeys } from '../../accounts/own-keys.ts';
import { DateTime } from '../../jobs/job-view.ts';
import { traceOf, type App } from '../app.ts';
import { problemResponses } from '../problem.ts';

const tags = ['account'];
const config = { scope: 'keys' } as const;
const keyFields = {
  prefix: Type.String({ description: 'The first characters of the key, which name it.' }),
  scopes: Type.Array(Type.String()),
  createdAt: DateTime,
};
const KeyView = Type.Object(keyFields, { additionalProperties: false });
const NewKeyView = Type.Object(
  { key: Type.String({ description: 'The key. It is shown this once.' }), ...keyFields },
  { additionalProperties: false },
);
const json = (description: string, schema: object) => ({ description, content: { 'application/json': { schema } } });
const viewOf = ({ prefix, scopes: may, createdAt }: ApiKeyRecord) => ({ prefix, scopes: [...may], createdAt });

/** The API keys of the caller's own account. Those of others are an operator's: `pnpm keys`. */
export function keyRoutes(app: App, keys: OwnKeys): void {
  app.get(
    '/v1/accounts/me/keys',
    {
      config,
      schema: {
        operationId: 'listKeys',
        summary: 'The API keys of the account, oldest first',
        tags,
        response: {
          200: json(
            'The keys, without what opens anything.',
            Type.Object(
              {
                keys: Type.Array(KeyView),
                most: Type.Integer({ description: 'How many an account may have.' }),
              },
              { additionalProperties: false },
            ),
          ),
          ...problemResponses(),
        },
      },
    },
    async ({ account }) => ({ keys: (await keys.list(account.id)).map(viewOf), most: LIVE_KEYS }),
  );

  app.post(
    '/v1/accounts/me/keys',
    {
      config,
      schema: {
        operationId: 'createKey',
        summary: 'Make an API key, with scopes of the one that asks',
        tags,
        body: Type.Object(
          {
            scopes: Type.Array(Type.String({ enum: [...scopes] }), {
              minItems: 1,
              uniqueItems: true,
              description: 'What it may do. A scope that the asking key lacks is refused.',
            }),
          },
          { additionalProperties: false },
        ),
        response: { 201: json('The key.', NewKeyView), ...problemResponses('unsupported_media_type') },
      },
    },
    async (request, reply) => {
      const { traceId } = traceOf(request);
      const { key, record } = await keys.create({ account: request.account, traceId }, request.body.scopes);
      reply.code(201).header('cache-control', 'no-store');
      return { key, ...viewOf(record) };
    },
  );

  app.delete(
    '/v1/accounts/me/keys/:prefix',
    {
      config,
      schema: {
        operationId: 'revokeKey',
        summary: 'Revoke an API key of the account, and the sessions that began with it',
        tags,
        params: Type.Object({ prefix: Type.String({ maxLength: 16, description: 'The `prefix` of the key.' }) }),
        response: { 204: Type.Null({ description: 'It opens nothing any more.' }), ...problemResponses('not_found') },
      },
    },
    async (request, reply) => {
      const { traceId } = traceOf(request);
      await keys.revoke({ account: request.account, traceId }, request.params.prefix);
      return reply.code(204).send(null);
    },
  );
}
