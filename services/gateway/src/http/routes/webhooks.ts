import { Type } from 'typebox';
import type { App } from '../app.ts';
import type { ReadModel } from '../../history/read-model.ts';
import { DateTime, shownState, StateSchema, type JobView } from '../../jobs/job-view.ts';
import { problemResponses } from '../problem.ts';
import { GatewayError } from '../../errors.ts';
import { callbackUrl } from '../../jobs/accept/callback-url.ts';
import { ownJob } from '../../jobs/own-job.ts';
import { deliveryOf, deliveryStates } from '../../webhooks/delivery.ts';
import type { WebhookSecrets } from '../../webhooks/secrets.ts';
import type { WebhookTester } from '../../webhooks/test-call.ts';
import type { RouteDeps } from '../deps.ts';
import { cursorOf, cursorText, Cursor } from '../job-cursor.ts';

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

const DeliveryView = Type.Object(
  {
    jobId: Type.String(),
    host: Type.String({ description: 'Of the `callbackUrl`, whose path may hold secrets of the receiver.' }),
    jobState: StateSchema,
    state: Type.Unsafe<(typeof deliveryStates)[number]>(
      Type.String({ enum: [...deliveryStates], description: 'As `webhook.state` of the job.' }),
    ),
    at: Type.Optional(DateTime),
    detail: Type.Optional(Type.String({ description: 'What the last call came to.' })),
  },
  { additionalProperties: false },
);
const TestView = Type.Object(
  {
    delivered: Type.Boolean({ description: 'Whether the receiver answered with a 2xx.' }),
    detail: Type.String(),
    status: Type.Optional(Type.Integer({ description: 'Of its answer, if one came.' })),
    durationMs: Type.Integer(),
  },
  { description: 'What the receiver did.', additionalProperties: false },
);

export interface WebhookRouteDeps extends Pick<RouteDeps, 'bus' | 'jobs' | 'history'> {
  readonly model: Pick<ReadModel, 'jobs'>;
  readonly webhookSecrets: WebhookSecrets;
  readonly webhookTester: WebhookTester;
}

/** The webhooks of the caller's account: what became of them, what they are signed with, and one to try a receiver. */
export function webhookRoutes(app: App, deps: WebhookRouteDeps): void {
  const { webhookSecrets: secrets } = deps;
  app.get(
    '/v1/webhooks/deliveries',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'What became of the webhooks of jobs, the newest job first',
        description: 'Every call of one stands among the events of its job.',
        tags,
        querystring: Type.Object(
          {
            limit: Type.Integer({ minimum: 1, maximum: 50, default: 20 }),
            cursor: Type.Optional(Cursor),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object(
            {
              deliveries: Type.Array(DeliveryView),
              next: Type.Optional(Type.String({ description: 'The cursor of the next page.' })),
            },
            { description: 'One page.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async ({ account, query: { limit, cursor } }) => {
      const page = await deps.model.jobs({
        account: account.id,
        webhook: true,
        limit,
        cursor: cursor === undefined ? undefined : cursorOf(cursor),
      });
      const deliveries = await Promise.all(page.jobs.map((shown) => deliveryView(deps, account.id, shown)));
      return {
        deliveries: deliveries.filter((view) => view !== undefined),
        ...(page.next === undefined ? {} : { next: cursorText(page.next) }),
      };
    },
  );

  app.post(
    '/v1/webhooks::test',
    {
      config: { scope: 'jobs:write', limited: true },
      schema: {
        operationId: 'testWebhook',
        summary: 'Call a receiver once, with a job that never was',
        description:
          'Signed as every webhook of the account. Its job has the id `job_00000000000000000000000000` and the metadata `test: true`; it is not repeated.',
        tags,
        body: Type.Object(
          { url: Type.String({ maxLength: 2_048, description: 'As a `callbackUrl`.' }) },
          { additionalProperties: false },
        ),
        response: { 200: TestView, ...problemResponses('unsupported_media_type') },
      },
    },
    async ({ account, body }) => {
      const url = callbackUrl(body.url, '/url');
      if (url === undefined) throw new GatewayError('invalid_request', '/url is empty');
      return deps.webhookTester.send(account.id, new URL(url));
    },
  );

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

/** Undefined for a job that was forgotten meanwhile. */
async function deliveryView(
  deps: Pick<WebhookRouteDeps, 'bus' | 'jobs' | 'history'>,
  account: string,
  { id }: Pick<JobView, 'id'>,
) {
  const found = await ownJob(deps, account, id).catch((error: unknown) => {
    if (error instanceof GatewayError && error.code === 'not_found') return undefined;
    throw error;
  });
  const delivery = found === undefined ? undefined : await deliveryOf(deps.bus, found.job);
  if (found === undefined || delivery === undefined) return undefined;
  const { state, atMs, detail } = delivery;
  return {
    jobId: id,
    host: new URL(found.job.callbackUrl).host,
    jobState: shownState(found.job),
    state,
    ...(atMs === undefined ? {} : { at: new Date(atMs).toISOString() }),
    ...(detail === undefined || detail === '' ? {} : { detail }),
  };
}
