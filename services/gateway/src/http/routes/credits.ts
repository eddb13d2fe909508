import { timestampDate } from '@bufbuild/protobuf/wkt';
import { CreditEntryKind, jobKindNames, type CreditEntry } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';
import { Type } from 'typebox';
import type { App } from '../app.ts';
import type { AccessSettings } from '../../accounts/access.ts';
import { LIVE_KEYS } from '../../accounts/api-keys.ts';
import type { OpenStreams } from '../../admission/open-streams.ts';
import { DateTime } from '../../jobs/job-view.ts';
import { GatewayError, invalidField } from '../../errors.ts';
import { problemResponses } from '../problem.ts';
import type { Credits } from '../../credits/credits.ts';
import { statement, type Posted } from '../../credits/ledger.ts';

const kinds = ['grant', 'charge', 'refund', 'reversal'] as const;
const kindNames: Readonly<Record<number, (typeof kinds)[number]>> = {
  [CreditEntryKind.GRANT]: 'grant',
  [CreditEntryKind.CHARGE]: 'charge',
  [CreditEntryKind.REFUND]: 'refund',
  [CreditEntryKind.REVERSAL]: 'reversal',
};

const limit = (description: string) => Type.Optional(Type.Integer({ description }));
const AccountView = Type.Object(
  {
    id: Type.String(),
    scopes: Type.Array(Type.String(), { description: 'What the key of this request may do.' }),
    limits: Type.Object(
      {
        requestsPerSecond: limit('Requests that make jobs, and events, of this account.'),
        allRequestsPerSecond: limit('The same of all accounts together.'),
        mailsPerRecipientPerHour: limit('Mails to one address.'),
        keys: Type.Integer({ description: 'Live API keys.' }),
        eventStreams: Type.Integer({ description: 'Event streams that are open at once, per replica.' }),
      },
      { description: 'What the account is held to. A limit that is off is absent.', additionalProperties: false },
    ),
    credits: Type.Optional(
      Type.Object(
        {
          balance: Type.Integer({ description: 'Below zero after a run that an operator started again.' }),
          prices: Type.Object(
            Object.fromEntries(
              jobKindNames.map((name) => [name, Type.Integer({ description: `For a job of ${name}.` })]),
            ),
            { additionalProperties: false },
          ),
        },
        { description: 'When credits are on.', additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
const TransactionView = Type.Object(
  {
    id: Type.String(),
    kind: Type.Unsafe<(typeof kinds)[number]>(Type.String({ enum: [...kinds] })),
    amount: Type.Integer({ description: 'Below zero for what was taken.' }),
    balance: Type.Integer({ description: 'After it.' }),
    at: DateTime,
    jobId: Type.Optional(Type.String()),
    note: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);
const PageView = Type.Object(
  {
    transactions: Type.Array(TransactionView),
    nextCursor: Type.Optional(Type.String({ description: 'Absent on the last page.' })),
  },
  { additionalProperties: false },
);
const json = (description: string, schema: object) => ({ description, content: { 'application/json': { schema } } });
const tags = ['account'];

/** The caller's account: who they are, what they have left and what they spent. */
export function accountRoutes(
  app: App,
  deps: {
    readonly bus: Bus;
    readonly credits: Credits | undefined;
    readonly access: Pick<AccessSettings, 'limits'>;
    readonly streams: Pick<OpenStreams, 'mostPerAccount'>;
  },
): void {
  const { bus, credits, access, streams } = deps;
  const limits = () => {
    const { account: own, global, recipient } = access.limits;
    return {
      ...(own.limit > 0 ? { requestsPerSecond: own.limit } : {}),
      ...(global.limit > 0 ? { allRequestsPerSecond: global.limit } : {}),
      ...(recipient.limit > 0 ? { mailsPerRecipientPerHour: recipient.limit } : {}),
      keys: LIVE_KEYS,
      eventStreams: streams.mostPerAccount,
    };
  };
  app.get(
    '/v1/accounts/me',
    {
      config: { scope: 'account:read' },
      schema: {
        operationId: 'getAccount',
        summary: 'The account behind the key, and its credits',
        tags,
        response: { 200: json('The account.', AccountView), ...problemResponses() },
      },
    },
    async ({ account: { id, scopes } }) => ({
      id,
      scopes: [...scopes],
      limits: limits(),
      ...(credits === undefined
        ? {}
        : { credits: { balance: await credits.balance(id), prices: { ...credits.prices } } }),
    }),
  );

  app.get(
    '/v1/accounts/me/transactions',
    {
      config: { scope: 'account:read' },
      schema: {
        operationId: 'listTransactions',
        summary: 'What changed the credits, newest first',
        tags,
        querystring: Type.Object(
          {
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
            cursor: Type.Optional(Type.String({ maxLength: 20, description: '`nextCursor` of the page before.' })),
          },
          { additionalProperties: false },
        ),
        response: { 200: json('A page.', PageView), ...problemResponses('not_found') },
      },
    },
    async ({ account, query: { limit = 20, cursor } }) => {
      if (credits === undefined) throw new GatewayError('not_found', 'Credits are off.');
      if (cursor !== undefined && !/^[1-9]\d{0,15}$/.test(cursor))
        throw invalidField('/query/cursor', 'is none of ours');
      const page: Posted[] = [];
      for await (const posted of statement(bus, account.id, cursor === undefined ? undefined : Number(cursor))) {
        page.push(posted);
        if (page.length === limit) break;
      }
      const last = page.at(-1);
      const more = last !== undefined && last.entry.previous > 0n;
      return {
        transactions: page.map(({ entry, sequence }) => transactionView(entry, sequence)),
        ...(more ? { nextCursor: String(last.sequence) } : {}),
      };
    },
  );
}

function transactionView(entry: CreditEntry, sequence: number) {
  const { kind, amount, balance, at, jobId, note } = entry;
  return {
    id: String(sequence),
    kind: kindNames[kind] ?? 'grant',
    amount: Number(amount),
    balance: Number(balance),
    at: (at === undefined ? new Date(0) : timestampDate(at)).toISOString(),
    ...(jobId === '' ? {} : { jobId }),
    ...(note === '' ? {} : { note }),
  };
}
