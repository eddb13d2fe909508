import { natsPort } from './nats-port.ts';
import type { ClosableNatsPort, NatsJsConnection } from './nats-port.ts';

/** A port that made its own connection. */
export interface NatsLink extends ClosableNatsPort {
  readonly connection: NatsJsConnection;
  /** Closes the connection too. Drain the pipelines before. */
  disconnect(): Promise<void>;
}

interface Client {
  connect(options: object): Promise<NatsJsConnection & { close(): Promise<void> }>;
}

/**
 * Connects with `@nats-io/transport-node`, which must be installed, and makes a port. `options` are that client's. They
 * begin with what a worker needs: no limit on reconnects (the client gives up after ten), a ping every ten seconds (a
 * dead link is noticed after minutes otherwise), and no stack kept for every request.
 */
export async function connectNats(
  options: { readonly servers?: string | string[] } & Readonly<Record<string, unknown>> = {},
): Promise<NatsLink> {
  const client = (await import('@nats-io/transport-node')) as unknown as Client;
  const defaults = { maxReconnectAttempts: -1, pingInterval: 10_000, noAsyncTraces: true };
  const connection = await client.connect({ ...defaults, ...options });
  const port = natsPort(connection);
  return Object.assign(port, {
    connection,
    async disconnect() {
      port.close();
      await connection.close();
    },
  });
}
