import type { KV } from '@nats-io/kv';
import type { NatsPort } from '@sluice/pipeline';
import { audit } from '../audit/audit.ts';
import { GatewayError } from '../errors.ts';
import type { Account } from './account.ts';
import { ApiKeyError, createKey, listKeys, type ApiKeyRecord, type KeyRing, type ListedKey } from './api-keys.ts';

/** Who asks, and the trace of the request, for the audit record. */
export interface KeyCaller {
  readonly account: Account;
  readonly traceId: string;
}

/** The keys of the account that asks. */
export interface OwnKeys {
  list(account: string): Promise<readonly ListedKey[]>;
  /**
   * Makes a key for the account, with scopes that the caller has.
   *
   * @throws {GatewayError} `forbidden` for a scope that the caller lacks, `invalid_request` when there is no such scope,
   *   or when the account has as many keys as it may.
   */
  create(by: KeyCaller, scopes: readonly string[]): Promise<{ readonly key: string; readonly record: ApiKeyRecord }>;
  /**
   * Revokes the key of the account that begins so.
   *
   * @throws {GatewayError} `not_found` when none, or more than one, does.
   */
  revoke(by: KeyCaller, prefix: string): Promise<void>;
}

/** What the operations work with. */
export interface OwnKeysDeps {
  readonly kv: KV;
  readonly port: NatsPort;
  /** Undefined while keys are off. */
  readonly known: KeyRing | undefined;
  readonly now: () => number;
}

/** As many characters of a key as `pnpm keys revoke` asks for: fewer name too many keys. */
const LEAST_PREFIX = 6;

export function ownKeys({ kv, port, known, now }: OwnKeysDeps): OwnKeys {
  const list = async (account: string): Promise<readonly ListedKey[]> =>
    known?.ofAccount(account) ?? (await listKeys(kv)).filter((record) => record.account === account);
  const writeDown = (
    action: 'key.create' | 'key.revoke',
    { account, traceId }: KeyCaller,
    detail: Readonly<Record<string, unknown>>,
  ): Promise<void> => audit(port, { action, by: account.id, target: account.id, traceId, detail }, now);

  return {
    list,
    async create(by, wanted) {
      const { id, scopes: has } = by.account;
      const lacking = has.has('*') ? [] : wanted.filter((scope) => !has.has(scope));
      if (lacking.length > 0) {
        throw new GatewayError(
          'forbidden',
          `A key makes keys with scopes of its own, and this one lacks ${lacking.join(', ')}.`,
        );
      }
      await writeDown('key.create', by, { scopes: wanted });
      try {
        return await createKey(kv, id, wanted, { now: new Date(now()), known });
      } catch (error) {
        if (error instanceof ApiKeyError) throw new GatewayError('invalid_request', `${error.message}.`);
        throw error;
      }
    },
    async revoke(by, prefix) {
      const found = (await list(by.account.id)).filter(
        (record) => prefix.length >= LEAST_PREFIX && record.prefix.startsWith(prefix),
      );
      const [only] = found;
      if (only === undefined || found.length > 1) {
        throw new GatewayError('not_found', `${found.length} keys of this account begin with ${prefix}.`);
      }
      await writeDown('key.revoke', by, { prefix: only.prefix });
      await kv.purge(only.digest);
      known?.learn(only.digest, undefined);
    },
  };
}
