import { Type } from 'typebox';
import type { App } from '../app.ts';
import { DateTime } from '../../jobs/job-view.ts';
import { problemResponses } from '../problem.ts';
import type { WebhookSecrets } from '../../webhooks/secrets.ts';

const SecretsView = Type.Object(
  {
    secrets: Type.Array(
      Type.Object(
        {
          secret: Type.String({ description: 'Verify with any library for Standard Webhooks.' }),
          createdAt: DateTime,
          expiresAt: Type.Optional(DateTime),
        },
        { additionalProperties: false },
      ),
      { description: 'Newest first. While one replaces another, each webhook carries a signature of both.' },
    ),
  },
  { additionalProperties: false },
);
const answers = {
  200: { description: 'The secrets.', content: { 'application/json': { schema: SecretsView } } },
  ...problemResponses(),
};
const tags = ['account'];

/** What the webhooks of the caller's account are signed with. */
export function webhookRoutes(app: App, secrets: WebhookSecrets): void {
  app.get(
    '/v1/webhooks/secrets',
    {
      config: { scope: 'webhooks:secrets' },
      schema: { operationId: 'getWebhookSecrets', summary: 'What webhooks are signed with', tags, response: answers },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store');
      return { secrets: [...(await secrets.of(request.account.id))] };
    },
  );
  app.post(
    '/v1/webhooks/secrets::rotate',
    {
      config: { scope: 'webhooks:secrets' },
      schema: {
        operationId: 'rotateWebhookSecret',
        summary: 'A new secret for webhooks; the one before signs for another day',
        tags,
        response: { ...answers, ...problemResponses('unsupported_media_type') },
      },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store');
      return { secrets: [...(await secrets.rotate(request.account.id))] };
    },
  );
}
