import { Type } from 'typebox';
import {
  findDeadLetter,
  listDeadLetters,
  purgeDeadLetter,
  purgeDeadLetters,
  replayDeadLetter,
  replayDeadLetters,
  type DeadLetterDeps,
} from '../../dead-letters/dead-letters.ts';
import { DeadLetterView, viewOf, type DeadLetter } from '../../dead-letters/record.ts';
import { traceOf, type App } from '../app.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { problemResponses } from '../problem.ts';

const tags = ['operations'];
const Filter = {
  stream: Type.Optional(Type.String({ maxLength: 64 })),
  consumer: Type.Optional(Type.String({ maxLength: 64 })),
  reason: Type.Optional(Type.String({ maxLength: 64 })),
  error: Type.Optional(Type.String({ maxLength: 128, description: '`error.code` or `error.name`.' })),
};
const Next = Type.Integer({ description: '`cursor` of the call that goes on.' });
const Many = {
  limit: Type.Integer({ minimum: 1, maximum: 500, default: 100 }),
  cursor: Type.Optional(Type.Integer({ minimum: 1, description: '`next` of the call before.' })),
  dryRun: Type.Optional(Type.Boolean({ description: 'Count, and do nothing.' })),
};
const IdPath = Type.Object({ id: Type.String({ maxLength: 16 }) });
const Done = Type.Object({ id: Type.String() }, { description: 'Done, and written down.' });

/** Dead letters for an operator: browse, replay one or many, purge. */
export function deadLetterRoutes(app: App, deps: DeadLetterDeps): void {
  app.addSchema(DeadLetterView);
  const config = { scope: 'admin' } as const;

  const find = async (id: string): Promise<DeadLetter> => {
    const found = /^[1-9]\d{0,14}$/.test(id) ? await findDeadLetter(deps, Number(id)) : undefined;
    if (found === undefined) throw new GatewayError('not_found', 'There is no such dead letter.');
    return found;
  };

  app.get(
    '/v1/dead-letters',
    {
      config,
      schema: {
        operationId: 'listDeadLetters',
        summary: 'What was given up, newest first',
        tags,
        querystring: Type.Object(
          {
            ...Filter,
            limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
            cursor: Type.Optional(Type.Integer({ minimum: 1, description: '`next` of the page before.' })),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object(
            { deadLetters: Type.Array(Type.Ref('DeadLetter')), next: Type.Optional(Type.Integer()) },
            {
              description:
                'One page. It can be empty and have a next one: a page looks at so many records and no more.',
            },
          ),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      const { limit, cursor, ...filter } = request.query;
      const { letters, next } = await listDeadLetters(deps, filter, limit, cursor);
      return { deadLetters: letters.map(viewOf), ...(next === undefined ? {} : { next }) };
    },
  );

  app.get(
    '/v1/dead-letters/:id',
    {
      config,
      schema: {
        operationId: 'getDeadLetter',
        summary: 'One dead letter, decoded',
        tags,
        params: IdPath,
        response: {
          200: { description: 'The dead letter.', content: { 'application/json': { schema: Type.Ref('DeadLetter') } } },
          ...problemResponses('not_found'),
        },
      },
    },
    async (request) => viewOf(await find(request.params.id)),
  );

  app.post(
    '/v1/dead-letters/:id(^[^/:]+)::replay',
    {
      config,
      schema: {
        operationId: 'replayDeadLetter',
        summary: 'Send a dead letter on its way again',
        tags,
        params: IdPath,
        response: { 202: Done, ...problemResponses('not_found', 'not_replayable', 'unsupported_media_type') },
      },
    },
    async (request, reply) => {
      const letter = await find(request.params.id);
      await replayDeadLetter(deps, letter, { account: request.account.id, traceId: traceOf(request).traceId });
      reply.code(202);
      return { id: request.params.id };
    },
  );

  app.post(
    '/v1/dead-letters::replay',
    {
      config,
      schema: {
        operationId: 'replayDeadLetters',
        summary: 'Send many on their way again, newest first',
        description: 'Ends after `limit` replays. What cannot be replayed is stepped over and told of.',
        tags,
        body: Type.Object({ ...Filter, ...Many }, { additionalProperties: false }),
        response: {
          202: Type.Object(
            {
              matched: Type.Integer(),
              replayed: Type.Integer(),
              skipped: Type.Array(Type.Object({ id: Type.String(), code: Type.String(), detail: Type.String() })),
              next: Type.Optional(Next),
            },
            { description: 'What was done, and what was left and why.' },
          ),
          ...problemResponses('payload_too_large', 'unsupported_media_type'),
        },
      },
    },
    async (request, reply) => {
      const { limit, dryRun = false, cursor, ...filter } = request.body;
      const by = { account: request.account.id, traceId: traceOf(request).traceId };
      const { skipped, next, ...done } = await replayDeadLetters(deps, filter, { limit, cursor, dryRun }, by);
      reply.code(202);
      return { ...done, skipped: [...skipped], ...(next === undefined ? {} : { next }) };
    },
  );

  app.post(
    '/v1/dead-letters::purge',
    {
      config,
      schema: {
        operationId: 'purgeDeadLetters',
        summary: 'Remove many for good, newest first',
        description: 'At least one of `stream`, `consumer`, `reason` and `before` says which. `dryRun` shows it first.',
        tags,
        body: Type.Object(
          {
            ...Filter,
            before: Type.Optional(Type.String({ format: 'date-time', description: 'Given up before this time.' })),
            ...Many,
          },
          { additionalProperties: false },
        ),
        response: {
          202: Type.Object(
            {
              matched: Type.Integer(),
              purged: Type.Integer(),
              groups: Type.Record(Type.String(), Type.Integer(), {
                description: 'How many by `STREAM/consumer reason`.',
              }),
              next: Type.Optional(Next),
            },
            { description: 'What was done, and written down.' },
          ),
          ...problemResponses('payload_too_large', 'unsupported_media_type'),
        },
      },
    },
    async (request, reply) => {
      const { limit, dryRun = false, cursor, before, ...filter } = request.body;
      if (before === undefined && Object.keys(filter).length === 0) {
        throw invalidField('/stream', 'or consumer, reason or before is needed: a purge of everything is not offered');
      }
      const by = { account: request.account.id, traceId: traceOf(request).traceId };
      const wanted = { ...filter, ...(before === undefined ? {} : { before: new Date(before) }) };
      const { next, groups, ...done } = await purgeDeadLetters(deps, wanted, { limit, cursor, dryRun }, by);
      reply.code(202);
      return { ...done, groups: { ...groups }, ...(next === undefined ? {} : { next }) };
    },
  );

  app.delete(
    '/v1/dead-letters/:id',
    {
      config,
      schema: {
        operationId: 'purgeDeadLetter',
        summary: 'Take a dead letter out for good',
        tags,
        params: IdPath,
        response: { 202: Done, ...problemResponses('not_found') },
      },
    },
    async (request, reply) => {
      const letter = await find(request.params.id);
      await purgeDeadLetter(deps, letter, { account: request.account.id, traceId: traceOf(request).traceId });
      reply.code(202);
      return { id: request.params.id };
    },
  );
}
