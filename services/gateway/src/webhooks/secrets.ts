import { randomBytes } from 'node:crypto';
import type { KV } from '@nats-io/kv';
import { changeEntry, valueOf } from '@sluice/messaging';
import { SECRET_PREFIX } from './signature.ts';

/** A secret that an account's webhooks are signed with. */
export interface WebhookSecret {
  /** `whsec_` and 256 random bits in base64. */
  readonly secret: string;
  readonly createdAt: string;
  /** Set once another one replaces it: until then both sign. */
  readonly expiresAt?: string;
}

/** The secrets of accounts. Each account has one from its first use on, and two while one replaces the other. */
export interface WebhookSecrets {
  /** Those that sign now, newest first. */
  of(account: string): Promise<readonly WebhookSecret[]>;
  /** Makes a new one; what was the newest signs for another day. */
  rotate(account: string): Promise<readonly WebhookSecret[]>;
}

/** How long a receiver has to take up the new secret. */
export const OVERLAP_MS = 24 * 60 * 60_000;

const isSecrets = (value: object): value is readonly WebhookSecret[] =>
  Array.isArray(value) && value.every((each) => typeof (each as Partial<WebhookSecret> | null)?.secret === 'string');

export function webhookSecrets(kv: KV, now: () => number = Date.now): WebhookSecrets {
  const fresh = (): WebhookSecret => ({
    secret: `${SECRET_PREFIX}${randomBytes(32).toString('base64')}`,
    createdAt: new Date(now()).toISOString(),
  });
  const live = (all: readonly WebhookSecret[]): readonly WebhookSecret[] =>
    all.filter(({ expiresAt }) => expiresAt === undefined || Date.parse(expiresAt) > now());

  /** Writes what `change` makes of the secrets that sign now; undefined leaves them. Returns those that sign then. */
  async function write(
    account: string,
    change: (before: readonly WebhookSecret[]) => readonly WebhookSecret[] | undefined,
  ): Promise<readonly WebhookSecret[]> {
    let signing: readonly WebhookSecret[] = [];
    await changeEntry(kv, account, (entry) => {
      const before = live(valueOf(entry, isSecrets) ?? []);
      const after = change(before);
      signing = after ?? before;
      return after === undefined ? undefined : JSON.stringify(after);
    });
    return signing;
  }

  return {
    of: (account) => write(account, (before) => (before.length > 0 ? undefined : [fresh()])),
    rotate: (account) =>
      write(account, ([newest]) => {
        if (newest === undefined) return [fresh()];
        return [fresh(), { ...newest, expiresAt: new Date(now() + OVERLAP_MS).toISOString() }];
      }),
  };
}
