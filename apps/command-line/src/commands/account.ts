import type { Scope, WebhookDelivery } from '@sluice/client';
import type { Command } from '../command.ts';
import { CommandError } from '../errors.ts';
import { table } from '../output.ts';

export const accountCommands: readonly Command[] = [
  {
    name: 'account',
    summary: 'Show the account behind the key: what it may do, its limits and credits',
    examples: ['account', 'account --json'],
    async run({ sluice, output, signal }) {
      const account = await sluice.account.get({ signal });
      const { id, scopes, limits, credits } = account;
      output.json(account);
      output.print(`account ${id}`);
      output.print(`may     ${scopes.includes('*') ? 'everything: keys are off' : scopes.join(', ')}`);
      for (const [name, limit] of Object.entries(limits)) output.print(`limit   ${words(name)}: ${limit}`);
      if (credits !== undefined) output.print(`credits ${credits.balance}`);
    },
  },
  {
    name: 'keys list',
    summary: 'List the API keys of the account',
    detail: 'Needs a key with the scope keys. An operator lists those of every account with `npx pnpm keys list`.',
    examples: ['keys list'],
    async run({ sluice, output, signal }) {
      const keys = await sluice.keys.list({ signal });
      output.json({ keys });
      output.print(
        keys.length === 0
          ? 'no keys'
          : table(
              ['key', 'since', 'may'],
              keys.map(({ prefix, createdAt, scopes }) => [`${prefix}…`, createdAt, scopes.join(', ')]),
            ),
      );
    },
  },
  {
    name: 'keys create',
    summary: 'Make an API key for the account, and show it once',
    detail:
      'Needs a key with the scope keys, and gives no scope that this one lacks. The first key of an account is made by an operator: `npx pnpm keys create ACCOUNT`.',
    arguments: [
      {
        name: 'scope',
        summary: 'what it may do, such as jobs:read; `account` lists what your key may',
        variadic: true,
      },
    ],
    examples: ['keys create jobs:read jobs:write'],
    async run({ sluice, output, signal }, { words: scopes }) {
      const made = await sluice.keys.create(scopes as readonly Scope[], { signal });
      output.json(made);
      output.print(made.key);
      output.note(`It may ${made.scopes.join(', ')}. It is shown this once.`);
    },
  },
  {
    name: 'keys revoke',
    summary: 'Revoke an API key of the account, at once and for good',
    arguments: [{ name: 'key', summary: 'how it begins, as `keys list` shows it' }],
    examples: ['keys revoke sk_AbCdEfGh'],
    async run({ sluice, output, signal }, { words: [prefix = ''] }) {
      await sluice.keys.revoke(prefix, { signal });
      output.json({ prefix, revoked: true });
      output.print(`${prefix} is revoked`);
    },
  },
  {
    name: 'webhooks list',
    summary: 'List what became of the webhooks of jobs, the newest job first',
    options: [{ flags: '--limit <n>', summary: 'how many at most', as: 'count', default: 20 }],
    examples: ['webhooks list', 'webhooks list --limit 50 --json'],
    async run({ sluice, output, signal }, { number }) {
      const wanted = number('limit') ?? 20;
      const found: WebhookDelivery[] = [];
      let cursor: string | undefined;
      do {
        const limit = Math.min(50, wanted - found.length);
        const page = await sluice.webhooks.deliveries({ signal, limit, ...(cursor === undefined ? {} : { cursor }) });
        found.push(...page.deliveries);
        cursor = page.next;
      } while (cursor !== undefined && found.length < wanted);
      for (const delivery of found) output.json(delivery);
      output.print(
        found.length === 0
          ? 'no webhooks'
          : table(
              ['job', 'state', 'at', 'host', 'last call'],
              found.map(({ jobId, state, at = '', host, detail = '' }) => [jobId, state, at, host, detail]),
            ),
      );
    },
  },
  {
    name: 'webhooks test',
    summary: 'Call a receiver once, signed, with a job that never was',
    detail: 'Exits with 1 unless the receiver answers with a 2xx.',
    arguments: [{ name: 'url', summary: 'the address of the receiver, as a callbackUrl has it' }],
    examples: ['webhooks test https://example.com/hook'],
    async run({ sluice, output, signal }, { words: [url = ''] }) {
      const result = await sluice.webhooks.test(url, { signal });
      output.json(result);
      if (!result.delivered) throw new CommandError('failed', `not delivered: ${result.detail}`);
      output.print(`delivered: ${result.detail} after ${result.durationMs} ms`);
    },
  },
  {
    name: 'webhooks secrets',
    summary: 'Show what webhooks are signed with',
    detail: 'Needs a key with the scope webhooks:secrets.',
    examples: ['webhooks secrets'],
    async run({ sluice, output, signal }) {
      const secrets = await sluice.webhooks.secrets({ signal });
      output.json({ secrets });
      for (const secret of secrets) output.print(describeSecret(secret));
    },
  },
  {
    name: 'webhooks rotate',
    summary: 'Make a new secret for webhooks; the one before signs for another day',
    examples: ['webhooks rotate'],
    async run({ sluice, output, signal }) {
      const secrets = await sluice.webhooks.rotateSecret({ signal });
      output.json({ secrets });
      for (const secret of secrets) output.print(describeSecret(secret));
    },
  },
  {
    name: 'credits',
    summary: 'Grant credits, and show what is left (over the broker)',
    examples: ['credits grant acme 1000', 'credits balance acme', 'credits --help'],
    words: 'ACTION ACCOUNT',
    program: 'services/gateway/src/cli/credits.ts',
  },
  {
    name: 'suppressions',
    summary: 'Show and change which addresses get no mail (over the broker)',
    examples: ['suppressions list', 'suppressions add ada@example.com', 'suppressions --help'],
    words: 'ACTION [ADDRESS]',
    program: 'services/gateway/src/cli/suppressions.ts',
  },
  {
    name: 'erase',
    summary: 'Take a person out of every store, and show how far it is',
    examples: ['erase ada@example.com', 'erase ada@example.com --suppress', 'erase --help'],
    words: 'ADDRESS',
    program: 'services/gateway/src/cli/erase.ts',
  },
  {
    name: 'templates',
    summary: 'Write, show and delete the mail templates of an account (over the broker)',
    examples: ['templates list acme', 'templates put acme receipt receipt.json', 'templates --help'],
    words: 'ACTION ACCOUNT',
    program: 'services/gateway/src/cli/templates.ts',
  },
];

const describeSecret = ({
  secret,
  createdAt,
  expiresAt,
}: {
  secret: string;
  createdAt: string;
  expiresAt?: string;
}): string => `${secret}  since ${createdAt}${expiresAt === undefined ? '' : `, until ${expiresAt}`}`;

/** `mailsPerRecipientPerHour` as words. */
const words = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
