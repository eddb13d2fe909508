import { dataOf, type Api, type CallOptions } from './api.ts';
import type { operations } from './gen/api.ts';

type Answer<
  Operation extends 'getAccount' | 'listWebhookDeliveries' | 'testWebhook' | 'getWebhookSecrets' | 'listKeys',
> = operations[Operation]['responses'][200]['content']['application/json'];
/** The account behind the key: scopes, limits, credits. */
export type Account = Answer<'getAccount'>;
/** An API key as it is listed: without what opens anything. */
export type ApiKey = Answer<'listKeys'>['keys'][number];
/** A key that was just made. `key` is shown this once. */
export type NewApiKey = operations['createKey']['responses'][201]['content']['application/json'];
export type Scope = operations['createKey']['requestBody']['content']['application/json']['scopes'][number];
export type WebhookDelivery = Answer<'listWebhookDeliveries'>['deliveries'][number];
export type WebhookDeliveryPage = Answer<'listWebhookDeliveries'>;
export type WebhookTest = Answer<'testWebhook'>;
export type WebhookSecret = Answer<'getWebhookSecrets'>['secrets'][number];

/** The API keys of the account; needs a key with the scope `keys`. */
export interface Keys {
  list(options?: CallOptions): Promise<readonly ApiKey[]>;
  /** Makes a key with scopes that the asking key has. */
  create(scopes: readonly Scope[], options?: CallOptions): Promise<NewApiKey>;
  /** Revokes the key that begins so: its `prefix`. */
  revoke(prefix: string, options?: CallOptions): Promise<void>;
}

/** The webhooks of the account. */
export interface Webhooks {
  /** What became of the webhooks of jobs, the newest job first. */
  deliveries(
    options?: CallOptions & { readonly limit?: number; readonly cursor?: string },
  ): Promise<WebhookDeliveryPage>;
  /** Calls a receiver once, signed, with a job that never was. */
  test(url: string, options?: CallOptions): Promise<WebhookTest>;
  /** What webhooks are signed with, newest first; needs the scope `webhooks:secrets`. */
  secrets(options?: CallOptions): Promise<readonly WebhookSecret[]>;
  /** Makes a new secret; the one before signs for another day. */
  rotateSecret(options?: CallOptions): Promise<readonly WebhookSecret[]>;
}

const signalOf = ({ signal }: CallOptions = {}) => ({ signal: signal ?? null });

export function createKeys(api: Api): Keys {
  return {
    list: async (options) => (await dataOf(api.GET('/v1/accounts/me/keys', signalOf(options)))).keys,
    create: (scopes, options) =>
      dataOf(api.POST('/v1/accounts/me/keys', { ...signalOf(options), body: { scopes: [...scopes] } })),
    async revoke(prefix, options) {
      await api.DELETE('/v1/accounts/me/keys/{prefix}', { ...signalOf(options), params: { path: { prefix } } });
    },
  };
}

export function createWebhooks(api: Api): Webhooks {
  return {
    deliveries: ({ signal, limit = 20, ...query } = {}) =>
      dataOf(api.GET('/v1/webhooks/deliveries', { ...signalOf({ signal }), params: { query: { limit, ...query } } })),
    test: (url, options) => dataOf(api.POST('/v1/webhooks:test', { ...signalOf(options), body: { url } })),
    secrets: async (options) => (await dataOf(api.GET('/v1/webhooks/secrets', signalOf(options)))).secrets,
    rotateSecret: async (options) => (await dataOf(api.POST('/v1/webhooks/secrets:rotate', signalOf(options)))).secrets,
  };
}
