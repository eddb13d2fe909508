import { dataOf } from '@sluice/client';
import type { Command } from '../command.ts';

export const accountCommands: readonly Command[] = [
  {
    name: 'webhooks secrets',
    summary: 'Show what webhooks are signed with',
    detail: 'Needs a key with the scope webhooks:secrets.',
    examples: ['webhooks secrets'],
    async run({ sluice, output, signal }) {
      const { secrets } = await dataOf(sluice.api.GET('/v1/webhooks/secrets', { signal }));
      output.json({ secrets });
      for (const secret of secrets) output.print(describeSecret(secret));
    },
  },
  {
    name: 'webhooks rotate',
    summary: 'Make a new secret; the one before signs for another day',
    examples: ['webhooks rotate'],
    async run({ sluice, output, signal }) {
      const { secrets } = await dataOf(sluice.api.POST('/v1/webhooks/secrets:rotate', { signal }));
      output.json({ secrets });
      for (const secret of secrets) output.print(describeSecret(secret));
    },
  },
  {
    name: 'keys',
    summary: 'Make, list and revoke API keys (over the broker)',
    examples: ['keys create acme', 'keys list', 'keys revoke sk_AbCdEfGh', 'keys --help'],
    program: 'services/gateway/src/cli/keys.ts',
  },
  {
    name: 'credits',
    summary: 'Grant credits, and show what is left (over the broker)',
    examples: ['credits grant acme 1000', 'credits balance acme', 'credits --help'],
    program: 'services/gateway/src/cli/credits.ts',
  },
  {
    name: 'suppressions',
    summary: 'Show and change which addresses get no mail (over the broker)',
    examples: ['suppressions list', 'suppressions add ada@example.com', 'suppressions --help'],
    program: 'services/gateway/src/cli/suppressions.ts',
  },
  {
    name: 'erase',
    summary: 'Take a person out of every store, and show how far it is',
    examples: ['erase ada@example.com', 'erase ada@example.com --suppress', 'erase --help'],
    program: 'services/gateway/src/cli/erase.ts',
  },
  {
    name: 'templates',
    summary: 'Write, show and delete the mail templates of an account (over the broker)',
    examples: ['templates list acme', 'templates put acme receipt receipt.json', 'templates --help'],
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
