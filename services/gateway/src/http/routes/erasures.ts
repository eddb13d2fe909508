import { parseEmailAddress } from '@sluice/contracts';
import { Type, type Static } from 'typebox';
import type { Erasures, ErasureRecord } from '../../erasure/erasures.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { DateTime } from '../../jobs/job-view.ts';
import { traceOf, type App } from '../app.ts';
import { problemResponses } from '../problem.ts';

const tags = ['operations'];
const count = (description: string) => Type.Integer({ description });
const ErasureView = Type.Object(
  {
    id: Type.String({ description: 'Stands for the address; no record holds the address itself.' }),
    state: Type.Unsafe<ErasureRecord['state']>(
      Type.String({
        enum: ['running', 'finished', 'interrupted'],
        description: '`interrupted`: its process stopped or failed. The same request goes on where it stood.',
      }),
    ),
    startedAt: DateTime,
    updatedAt: DateTime,
    jobs: count('Ended jobs that were erased.'),
    messages: count('Messages that were erased: work, callbacks, webhooks, dead letters, events.'),
    objects: count('Uploads and PDFs that were deleted.'),
    history: count('Entries of the history that were erased.'),
    open: count('Jobs that have not ended, and commands that wait. Ask again once they have.'),
  },
  { $id: 'Erasure', additionalProperties: false },
);

const viewOf = ({ at: _at, ...shown }: ErasureRecord): Static<typeof ErasureView> => shown;

/** `POST /v1/erasures`: takes a person out of every store. */
export function erasureRoutes(app: App, erasures: Erasures): void {
  app.addSchema(ErasureView);
  const config = { scope: 'erasures' } as const;
  app.post(
    '/v1/erasures',
    {
      config,
      schema: {
        operationId: 'startErasure',
        summary: 'Erase a person: what the streams, the history and the object store hold of an address',
        description:
          'Goes on in the background, one at a time. What names the address is overwritten: requests of ended jobs, mails and callbacks that wait, dead letters, events, uploads and PDFs. Jobs that have not ended are counted as `open` and are erased by another run after their end.',
        tags,
        body: Type.Object(
          {
            recipient: Type.String({ minLength: 3, maxLength: 320, description: 'One bare e-mail address.' }),
            suppress: Type.Optional(
              Type.Boolean({ description: 'Also send no more mail to it: open jobs then end without a mail.' }),
            ),
          },
          { additionalProperties: false },
        ),
        response: {
          202: {
            description: 'Begun. `GET` its address for what it found.',
            content: { 'application/json': { schema: Type.Ref('Erasure') } },
          },
          ...problemResponses('payload_too_large', 'unsupported_media_type', 'erasure_running'),
        },
      },
    },
    async (request, reply) => {
      const address = parseEmailAddress(request.body.recipient);
      if (address === undefined) throw invalidField('/recipient', 'must be one bare e-mail address');
      const by = { account: request.account.id, traceId: traceOf(request).traceId };
      const begun = await erasures.start(address, by, request.body.suppress === true);
      reply.code(202).header('location', `/v1/erasures/${begun.id}`);
      return viewOf(begun);
    },
  );

  app.get(
    '/v1/erasures/:id',
    {
      config,
      schema: {
        operationId: 'getErasure',
        summary: 'What an erasure found so far',
        tags,
        params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
        response: {
          200: { description: 'The erasure.', content: { 'application/json': { schema: Type.Ref('Erasure') } } },
          ...problemResponses('not_found'),
        },
      },
    },
    async ({ params }) => {
      const found = /^[\w-]{1,64}$/.test(params.id) ? await erasures.find(params.id) : undefined;
      if (found === undefined) throw new GatewayError('not_found', 'No erasure of the last seven days has this id.');
      return viewOf(found);
    },
  );
}
