import { isSubjectToken } from '@sluice/contracts';
import { isJobId } from '@sluice/jobs';
import { Type } from 'typebox';
import type { App } from '../app.ts';
import type { RouteDeps } from '../deps.ts';
import { countItems, refuseTooMany } from '../../accounts/access.ts';
import { keyOf } from '../../jobs/accept/idempotency.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { problemResponses } from '../problem.ts';
import type { ReadModel } from '../../history/read-model.ts';
import { workFlow, type FlowStore } from '../../lifecycle/flows.ts';
import { eventsOf, IngestBody, storeEvents } from '../../lifecycle/ingest.ts';
import { messageTimeline, ownApps, type StoredEntry } from '../../jobs/timeline/timeline.ts';

const BULK_BODY_BYTES = 2 * 1024 * 1024;
/** More than our own services ever say of one job. */
const OWN_EVENTS = 200;
const tags = ['lifecycle'];
const AppPath = Type.Object({ appId: Type.String({ maxLength: 128 }) });
const FlowView = Type.Object(
  { appId: Type.String(), events: Type.Array(Type.String()), withinMs: Type.Integer() },
  { additionalProperties: false },
);

/** Lifecycle events of any system: taken in, declared as flows, shown per message with what is missing. */
export function eventRoutes(
  app: App,
  deps: RouteDeps & { readonly model: Pick<ReadModel, 'seen'> },
  flows: FlowStore,
): void {
  const { bus, jobs, now } = deps;
  app.post(
    '/v1/events',
    {
      config: { scope: 'events:write', limited: true },
      // With a callback: a promise for each request shows in the CPU of the ingest.
      onRequest: (_request, _reply, done) => {
        deps.backpressure.checkRoom('EVENTS');
        done();
      },
      preValidation: (request, _reply, done) => {
        const { events } = (request.body ?? {}) as { readonly events?: unknown };
        if (Array.isArray(events)) refuseTooMany(deps.access, events.length, 'events');
        done();
      },
      bodyLimit: BULK_BODY_BYTES,
      schema: {
        operationId: 'recordEvents',
        summary: 'Lifecycle events of any system, one or up to a thousand',
        description:
          'Answered once every event is stored: all of them, or none. An event is `{app_id, message_id, event, created_at}`. With an `Idempotency-Key`, which stands for up to 999 events, a repeat stores nothing. Each event counts as one request against the rate limits.',
        tags,
        headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String({ maxLength: 260 })) }),
        body: IngestBody,
        response: {
          202: Type.Object({ accepted: Type.Integer() }, { description: 'Stored.' }),
          ...problemResponses('payload_too_large', 'unsupported_media_type', 'idempotency_key_reused', 'overloaded'),
        },
      },
    },
    async (request, reply) => {
      const events = eventsOf(request.body, now());
      const key = keyOf(request.headers['idempotency-key']);
      // The first was counted before the body was read.
      if (events.length > 1) await countItems(deps.access, request.account, reply, events.length, 'events');
      const claimed = flows.claim(
        events.map(({ appId }) => appId),
        request.account.id,
      );
      if (claimed !== undefined) await claimed;
      const { repeated } = await storeEvents(bus, events, { account: request.account.id, key });
      if (repeated) reply.header('idempotent-replayed', 'true');
      reply.code(202);
      return { accepted: events.length };
    },
  );

  app.put(
    '/v1/flows/:appId',
    {
      config: { scope: 'events:write' },
      schema: {
        operationId: 'declareFlow',
        summary: 'Declare what the messages of an app go through, in order',
        tags,
        params: AppPath,
        body: Type.Object(
          {
            events: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
              minItems: 1,
              maxItems: 64,
              uniqueItems: true,
            }),
            withinMs: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 604_800_000,
                description: 'How long that should take; a minute if absent.',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: {
          200: { description: 'The flow.', content: { 'application/json': { schema: FlowView } } },
          ...problemResponses('payload_too_large', 'unsupported_media_type'),
        },
      },
    },
    async (request) => {
      const { appId } = request.params;
      if (!isSubjectToken(appId) || ownApps.includes(appId)) {
        throw invalidField('/path/appId', 'must be an app of your own: letters, digits, "-" and "_"');
      }
      const { events, withinMs = 60_000 } = request.body;
      const flow = await flows.declare(appId, request.account.id, events, withinMs);
      return { appId, events: [...flow.events], withinMs: flow.withinMs };
    },
  );

  app.get(
    '/v1/flows',
    {
      config: { scope: 'events:read' },
      schema: {
        operationId: 'listFlows',
        summary: 'The apps of the account, with what they declare',
        tags,
        response: {
          200: Type.Object(
            { flows: Type.Array(FlowView) },
            { description: 'By name. `events` is empty where nothing is declared.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async (request) => ({
      flows: flows
        .list(request.account.id)
        .map(({ app: appId, flow: { events, withinMs } }) => ({ appId, events: [...events], withinMs })),
    }),
  );

  app.get(
    '/v1/messages/:appId/:messageId',
    {
      config: { scope: 'events:read' },
      schema: {
        operationId: 'getMessage',
        summary: 'What happened to a message, and which declared events are missing',
        tags,
        params: Type.Object({ appId: Type.String({ maxLength: 128 }), messageId: Type.String({ maxLength: 128 }) }),
        querystring: Type.Object(
          {
            limit: Type.Integer({
              minimum: 1,
              maximum: 1_000,
              default: 200,
              description: 'Events that a service sent as one message come together, also where they are more.',
            }),
            cursor: Type.Optional(Type.Integer({ minimum: 1, description: '`next` of the page before.' })),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object(
            {
              appId: Type.String(),
              messageId: Type.String(),
              events: Type.Array(Type.Ref('TimelineEntry'), { description: 'One page, oldest first.' }),
              next: Type.Optional(Type.Integer({ description: 'The cursor of the next page.' })),
              expected: Type.Array(Type.String(), { description: 'The declared flow.' }),
              missing: Type.Array(
                Type.Object({
                  event: Type.String(),
                  overdue: Type.Boolean({ description: 'It should have been seen by now.' }),
                }),
              ),
            },
            { description: 'The message.' },
          ),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request) => {
      const { appId, messageId } = request.params;
      const absent = new GatewayError('not_found', 'Nothing is known of this message.');
      const flow = flows.find(appId);
      const own = ownApps.includes(appId);
      // Our own services speak of jobs, which belong to accounts.
      const owner = own ? (isJobId(messageId) ? (await jobs.read(messageId))?.job.account : undefined) : flow?.account;
      if (owner !== request.account.id) throw absent;
      const { limit, cursor } = request.query;
      const stored = await messageTimeline(bus, appId, messageId, { from: cursor ?? 1, limit });
      const [first] = cursor === undefined ? stored : await messageTimeline(bus, appId, messageId, { limit: 1 });
      if (first === undefined) throw absent;
      const { page, next } = pageOf(stored, limit);
      const expected = own ? (appId === 'image' || appId === 'email' ? workFlow : []) : (flow?.events ?? []);
      // What other pages hold is in the read model, which this page may be ahead of. Nothing else says much of a job.
      const others = own ? await messageTimeline(bus, appId, messageId, { limit: OWN_EVENTS }) : [];
      const seen = new Set([...stored, ...others].map(({ entry }) => entry.event));
      for (const event of own ? [] : await deps.model.seen(appId, messageId, expected)) seen.add(event);
      const overdue = now() - first.storedMs > (flow?.withinMs ?? 60_000);
      return {
        appId,
        messageId,
        events: page.map(({ entry }) => entry),
        ...(next === undefined ? {} : { next }),
        expected: [...expected],
        missing: expected.filter((event) => !seen.has(event)).map((event) => ({ event, overdue })),
      };
    },
  );
}

/** As many entries as a page takes without parting those of one message, and at least those of the first. */
function pageOf(
  stored: readonly StoredEntry[],
  limit: number,
): { readonly page: readonly StoredEntry[]; readonly next: number | undefined } {
  const whole = stored.findLastIndex(({ more }, index) => !more && index < limit) + 1;
  const end = whole > 0 ? whole : stored.findIndex(({ more }) => !more) + 1;
  return { page: stored.slice(0, end), next: stored[end]?.sequence };
}
