import { parseEmailAddress } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';
import { hashAddress, type Suppression, type Suppressions } from '@sluice/suppression';
import { Type } from 'typebox';
import { audit } from '../../audit/audit.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { traceOf, type App } from '../app.ts';
import { problemResponses } from '../problem.ts';

export interface SuppressionDeps {
  readonly bus: Bus;
  readonly now: () => number;
  readonly suppressions: Suppressions;
}

const tags = ['mail'];
const reasons = ['bounce', 'complaint', 'unsubscribe', 'manual'] as const;
const SuppressionView = Type.Object(
  {
    hash: Type.String({ description: 'Stands for the address; the list holds no addresses.' }),
    reason: Type.Unsafe<(typeof reasons)[number]>(Type.String({ enum: [...reasons] })),
    since: Type.String({ format: 'date-time' }),
  },
  { $id: 'Suppression', description: 'An address that gets no mail.' },
);
const Entries = Type.Object({ suppressions: Type.Array(Type.Ref('Suppression')) });
const AddressPath = Type.Object({
  address: Type.String({ maxLength: 320, description: 'An address, or the hash of one.' }),
});

/** Addresses that get no mail, for an operator: look, add, let back in. */
export function suppressionRoutes(app: App, { bus, now, suppressions }: SuppressionDeps): void {
  app.addSchema(SuppressionView);
  const config = { scope: 'admin' } as const;
  const wanted = (text: string): string => {
    const known = text.includes('@') ? parseEmailAddress(text) : text;
    if (known === undefined) throw invalidField('/address', 'must be one bare e-mail address, or a hash of the list');
    return known;
  };

  app.get(
    '/v1/suppressions',
    {
      config,
      schema: {
        operationId: 'listSuppressions',
        summary: 'Addresses that get no mail, by hash, in the order of their last change',
        tags,
        querystring: Type.Object(
          {
            limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100 }),
            cursor: Type.Optional(Type.String({ maxLength: 20, description: '`next` of the page before.' })),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object(
            {
              ...Entries.properties,
              more: Type.Boolean({ description: 'Whether there are more than `limit`.' }),
              next: Type.Optional(Type.String({ description: '`cursor` of the next page, when there is one.' })),
            },
            { description: 'So many entries.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async ({ query: { limit, cursor } }) => {
      if (cursor !== undefined && !/^[bu]\d{1,15}$/.test(cursor))
        throw invalidField('/query/cursor', 'is none of ours');
      const found: Suppression[] = [];
      let next: string | undefined;
      for await (const { cursor: place, ...entry } of suppressions.list(cursor)) {
        if (found.length === limit) return { suppressions: found, more: true, ...(next === undefined ? {} : { next }) };
        found.push(entry);
        next = place;
      }
      return { suppressions: found, more: false };
    },
  );

  app.get(
    '/v1/suppressions/:address',
    {
      config,
      schema: {
        operationId: 'getSuppression',
        summary: 'Why one address gets no mail',
        tags,
        params: AddressPath,
        response: { 200: { ...Entries, description: 'The entries of the address.' }, ...problemResponses('not_found') },
      },
    },
    async ({ params }) => {
      const found = await suppressions.find(wanted(params.address));
      if (found.length === 0) throw new GatewayError('not_found', 'This address is not suppressed.');
      return { suppressions: found };
    },
  );

  app.post(
    '/v1/suppressions',
    {
      config,
      schema: {
        operationId: 'addSuppression',
        summary: 'Send no more mail to an address',
        tags,
        body: Type.Object(
          {
            address: Type.String({ minLength: 3, maxLength: 320 }),
            reason: Type.Optional(
              Type.Unsafe<(typeof reasons)[number]>(Type.String({ enum: [...reasons], default: 'manual' })),
            ),
          },
          { additionalProperties: false },
        ),
        response: { 201: { ...Entries, description: 'The entries of the address.' }, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { reason = 'manual' } = request.body;
      const address = parseEmailAddress(request.body.address);
      if (address === undefined) throw invalidField('/address', 'must be one bare e-mail address');
      await record('suppression.add', request, address, { reason });
      await suppressions.add(address, reason);
      reply.code(201);
      return { suppressions: await suppressions.find(address) };
    },
  );

  app.delete(
    '/v1/suppressions/:address',
    {
      config,
      schema: {
        operationId: 'deleteSuppression',
        summary: 'Let mail to an address go out again',
        tags,
        params: AddressPath,
        response: { 204: Type.Null({ description: 'It is on no list.' }), ...problemResponses('not_found') },
      },
    },
    async (request, reply) => {
      const address = wanted(request.params.address);
      if ((await suppressions.find(address)).length === 0) {
        throw new GatewayError('not_found', 'This address is not suppressed.');
      }
      await record('suppression.remove', request, address, {});
      await suppressions.remove(address);
      return reply.code(204).send(null);
    },
  );

  /** The record names the hash: an address must not outlive its deletion in a stream that forgets nothing. */
  async function record(
    action: string,
    request: Parameters<typeof traceOf>[0],
    address: string,
    detail: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const target = address.includes('@') ? hashAddress(address) : address;
    const { traceId } = traceOf(request);
    await audit(bus.port, { action, by: request.account.id, target, traceId, detail }, now);
  }
}
