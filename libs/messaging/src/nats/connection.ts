import { readFileSync } from 'node:fs';
import { connect, credsAuthenticator, nkeyAuthenticator, type NatsConnection } from '@nats-io/transport-node';

export interface ConnectionSettings {
  /** One URL or several of a cluster, comma separated: `nats://127.0.0.1:4222`. */
  readonly url: string;
  /** Shown by the server for this connection: `<service>/<version>/<instance>`. */
  readonly name: string;
  /**
   * Prefix of this service's inboxes. A permission on `_INBOX_<service>.>` then keeps every other identity from
   * reading its replies.
   */
  readonly inboxPrefix?: string;
  /** With a seed or a credentials file it is not sent. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** A user NKey seed (`SU...`). */
  readonly nkeySeed?: string | undefined;
  /** Path of a `.creds` file. */
  readonly credentialsFile?: string | undefined;
  /** A CA bundle for a server certificate no public authority signed. Its presence demands TLS. */
  readonly caFile?: string | undefined;
  /** Wait for a server that is not there yet instead of failing at once. On by default. */
  readonly waitForServer?: boolean;
}

/**
 * Connects to NATS with the settings every part of the system shares. The defaults of nats.js do not fit a service
 * that must outlive its broker: it gives up for good after 10 attempts of 2 s, and takes minutes to notice a half-open
 * link (2 min pings, 2 allowed to miss).
 *
 * @throws when the server refuses the identity, or is absent and `waitForServer` is false.
 */
export async function connectNats(settings: ConnectionSettings): Promise<NatsConnection> {
  const { user, password, nkeySeed, credentialsFile, caFile } = settings;
  const encoder = new TextEncoder();
  const signs = nkeySeed !== undefined || credentialsFile !== undefined;
  return connect({
    servers: settings.url.split(',').map((server) => server.trim()),
    name: settings.name,
    ...(settings.inboxPrefix === undefined ? {} : { inboxPrefix: settings.inboxPrefix }),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 500,
    reconnectJitter: 500,
    waitOnFirstConnect: settings.waitForServer ?? true,
    // A dial that hangs must not hold up the next one: the default of 20 s kept clients away 16 s after a partition.
    timeout: 3_000,
    pingInterval: 10_000,
    maxPingOut: 2,
    // A stack trace per request costs 40 % of publishing (js.publish at 64 in flight).
    noAsyncTraces: true,
    ...(user === undefined || signs ? {} : { user, pass: password ?? '' }),
    ...(nkeySeed === undefined ? {} : { authenticator: nkeyAuthenticator(encoder.encode(nkeySeed)) }),
    ...(credentialsFile === undefined ? {} : { authenticator: credsAuthenticator(readFileSync(credentialsFile)) }),
    ...(caFile === undefined ? {} : { tls: { caFile } }),
  });
}

/**
 * The connection of a service from its configuration fields: named for the server's connection list, with an inbox
 * prefix of the service's own.
 */
export function connectService(
  config: {
    readonly NATS_URL: string;
    readonly NATS_USER?: string | undefined;
    readonly NATS_PASSWORD?: string | undefined;
    readonly NATS_NKEY_SEED?: string | undefined;
    readonly NATS_CREDENTIALS?: string | undefined;
    readonly NATS_CA?: string | undefined;
  },
  service: string,
  instance: string,
  options: Pick<ConnectionSettings, 'waitForServer'> = {},
): Promise<NatsConnection> {
  return connectNats({
    url: config.NATS_URL,
    name: `${service}/${instance}`,
    inboxPrefix: `_INBOX_${service}`,
    user: config.NATS_USER,
    password: config.NATS_PASSWORD,
    nkeySeed: config.NATS_NKEY_SEED,
    credentialsFile: config.NATS_CREDENTIALS,
    caFile: config.NATS_CA,
    ...options,
  });
}
