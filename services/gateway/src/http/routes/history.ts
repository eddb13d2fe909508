import { Type, type TInteger } from 'typebox';
import { parseEmailAddress } from '@sluice/contracts';
import type { App } from '../app.ts';
import { conditionalHeaders, notModified, unlessKnown } from '../conditional.ts';
import { DateTime, jobStates, KindSchema, StateSchema } from '../../jobs/job-view.ts';
import { invalidField } from '../../errors.ts';
import { labelLimits, metadataOfPairs } from '../../jobs/accept/labels.ts';
import { problemResponses } from '../problem.ts';
import { Cursor, cursorOf, cursorText } from '../job-cursor.ts';
import { MetadataPairs } from './metadata.ts';
import type { FlowStore } from '../../lifecycle/flows.ts';
import type { Projection } from '../../history/projection.ts';
import { projectedKinds, type JobCursor, type MessageCursor, type ReadModel } from '../../history/read-model.ts';

const HistoryQuery = Type.Object(
  {
    state: Type.Optional(StateSchema),
    kind: Type.Optional(KindSchema),
    recipient: Type.Optional(Type.String({ maxLength: 320, description: 'Of a mail, or to be notified of an image.' })),
    error: Type.Optional(Type.String({ maxLength: 128, description: 'The code of a failed job.' })),
    fileName: Type.Optional(
      Type.String({ maxLength: labelLimits.fileNameLength, description: 'The whole name of a file, in any case.' }),
    ),
    metadata: Type.Optional(MetadataPairs),
    since: Type.Optional(DateTime),
    until: Type.Optional(DateTime),
    limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
    cursor: Type.Optional(Cursor),
  },
  { additionalProperties: false },
);

/** Failed jobs whose errors are counted: those of now, at a cost that does not grow with the history. */
const COUNTED_FAILURES = 1_000;

/** Stretches without a message to show that a request goes through on its own. */
const MOST_EMPTY_PAGES = 20;

const Behind = Type.Optional(
  Type.Integer({
    description:
      'How many messages the history has yet to take in, after a start or an outage: what they say is not in this list. Absent when it has all.',
  }),
);

/** `GET /v1/jobs` and the list of incomplete messages: what the read model answers. */
export function historyRoutes(
  app: App,
  deps: { readonly model: ReadModel; readonly flows: FlowStore; readonly projection: Pick<Projection, 'behind'> },
): void {
  /** Said while lists lack something, so that an absent job is not taken for one that never was. */
  const behindNow = (): { behind?: number } => {
    const behind = projectedKinds.reduce((sum, kind) => sum + deps.projection.behind(kind), 0);
    return behind === 0 ? {} : { behind };
  };

  app.get(
    '/v1/jobs',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'listJobs',
        summary: 'Jobs, newest first',
        description:
          'From a read model that follows the jobs within milliseconds; a single job is always current. A page of several filters can hold fewer jobs than `limit`, even none, and still have a `next`: only a page without it is the last.',
        tags: ['jobs'],
        querystring: HistoryQuery,
        headers: conditionalHeaders,
        response: {
          ...notModified,
          200: Type.Object(
            {
              jobs: Type.Array(Type.Ref('Job')),
              next: Type.Optional(Type.String({ description: 'The cursor of the next page.' })),
              behind: Behind,
            },
            { description: 'One page.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      const { state, kind, recipient, error, fileName, metadata, since, until, limit, cursor } = request.query;
      const { jobs, next } = await deps.model.jobs({
        account: request.account.id,
        state,
        kind,
        // Jobs hold an address as it is sent to, its domain in ASCII.
        recipient: recipient === undefined ? undefined : (parseEmailAddress(recipient) ?? recipient),
        error,
        fileName,
        metadata: metadata === undefined ? undefined : metadataOfPairs(metadata, '/query/metadata'),
        limit,
        sinceMs: timeOf(since, '/query/since'),
        untilMs: timeOf(until, '/query/until'),
        cursor: cursor === undefined ? undefined : cursorOf(cursor),
      });
      return unlessKnown(request, reply, {
        jobs: [...jobs],
        ...(next === undefined ? {} : { next: cursorText(next) }),
        ...behindNow(),
      });
    },
  );

  app.get(
    '/v1/jobs::counts',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'countJobs',
        summary: 'How many jobs are in each state',
        description: 'Of the jobs that the lists tell of.',
        tags: ['jobs'],
        querystring: Type.Object({ kind: Type.Optional(KindSchema) }, { additionalProperties: false }),
        response: {
          200: Type.Object(
            {
              total: Type.Integer(),
              states: Type.Object(
                Object.fromEntries(jobStates.map((state) => [state, Type.Integer()])) as Record<
                  (typeof jobStates)[number],
                  TInteger
                >,
              ),
              behind: Behind,
            },
            { description: 'The counts.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      const found = await deps.model.counts(request.account.id, request.query.kind);
      const states = Object.fromEntries(jobStates.map((state) => [state, found[state] ?? 0])) as Record<
        (typeof jobStates)[number],
        number
      >;
      return { total: Object.values(states).reduce((sum, count) => sum + count, 0), states, ...behindNow() };
    },
  );

  app.get(
    '/v1/jobs::errors',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'countJobErrors',
        summary: 'Why the newest jobs that failed did, by the code of their error',
        description: `Of the newest ${COUNTED_FAILURES.toLocaleString('en')} that failed, the most frequent code first.`,
        tags: ['jobs'],
        querystring: Type.Object({ kind: Type.Optional(KindSchema) }, { additionalProperties: false }),
        response: {
          200: Type.Object(
            {
              counted: Type.Integer({ description: 'How many jobs were looked at.' }),
              more: Type.Boolean({ description: 'Whether older ones failed, too.' }),
              errors: Type.Array(
                Type.Object({
                  code: Type.String(),
                  jobs: Type.Integer(),
                  newestAt: { ...DateTime, description: 'When the newest of them was made.' },
                }),
              ),
            },
            { description: 'The counts.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      const { kind } = request.query;
      const found = new Map<string, { code: string; jobs: number; newestAt: string }>();
      let counted = 0;
      let cursor: JobCursor | undefined;
      let pages = 0;
      do {
        // Page by page, so that other questions to the history go in between.
        const page = await deps.model.jobs({ account: request.account.id, state: 'failed', kind, limit: 200, cursor });
        for (const { error, createdAt } of page.jobs) {
          const code = error?.code ?? 'unknown';
          const known = found.get(code);
          if (known === undefined) found.set(code, { code, jobs: 1, newestAt: createdAt });
          else known.jobs += 1;
        }
        counted += page.jobs.length;
        pages += 1;
        cursor = page.next;
        // Pages of two filters can be empty.
      } while (cursor !== undefined && counted < COUNTED_FAILURES && pages < MOST_EMPTY_PAGES);
      return {
        counted,
        more: cursor !== undefined,
        errors: [...found.values()].sort((a, b) => b.jobs - a.jobs),
      };
    },
  );

  app.get(
    '/v1/messages/:appId',
    {
      config: { scope: 'events:read' },
      schema: {
        operationId: 'listIncompleteMessages',
        summary: 'Messages of an app that lack declared events, oldest first',
        description:
          'A page can hold fewer than `limit`, even none, and still have a `next`: only a page without it is the last.',
        tags: ['lifecycle'],
        params: Type.Object({ appId: Type.String({ maxLength: 128 }) }),
        querystring: Type.Object(
          {
            limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100 }),
            cursor: Type.Optional(Type.String({ maxLength: 256, description: '`next` of the page before.' })),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object(
            {
              next: Type.Optional(Type.String({ description: 'The cursor of the next page.' })),
              messages: Type.Array(
                Type.Object({
                  messageId: Type.String(),
                  firstAt: DateTime,
                  lastAt: DateTime,
                  missing: Type.Array(Type.String()),
                }),
              ),
            },
            { description: 'What is incomplete.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      const { appId } = request.params;
      const flow = deps.flows.find(appId);
      if (flow?.account !== request.account.id) return { messages: [] };
      const { limit, cursor } = request.query;
      const after = cursor === undefined ? undefined : messageCursorOf(cursor);
      let page = await deps.model.incomplete(appId, flow.events, limit, after);
      for (let more = 0; more < MOST_EMPTY_PAGES && page.messages.length === 0 && page.next !== undefined; more += 1) {
        page = await deps.model.incomplete(appId, flow.events, limit, page.next);
      }
      const { messages, next } = page;
      return {
        ...(next === undefined ? {} : { next: messageCursorText(next) }),
        messages: messages.map(({ messageId, firstMs, lastMs, missing }) => ({
          messageId,
          firstAt: new Date(firstMs).toISOString(),
          lastAt: new Date(lastMs).toISOString(),
          missing: [...missing],
        })),
      };
    },
  );
}

function timeOf(text: string | undefined, pointer: string): number | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw invalidField(pointer, 'is no time');
  return ms;
}

const messageCursorText = ({ firstMs, messageId }: MessageCursor): string =>
  Buffer.from(`${firstMs}.${messageId}`).toString('base64url');

function messageCursorOf(text: string): MessageCursor {
  const found = /^(\d{1,15})\.([\w-]{1,128})$/.exec(Buffer.from(text, 'base64url').toString());
  if (found === null) throw invalidField('/query/cursor', 'is no cursor of this list');
  return { firstMs: Number(found[1]), messageId: found[2]! };
}
