import { freePort } from '../free-port.ts';
import type { FindNatsOptions } from './find.ts';
import { startNats, type NatsProcess } from './server.ts';

/** Three nats-servers that form one JetStream cluster, as processes on 127.0.0.1. */
export interface NatsCluster {
  /** By server name, which is what stream and consumer info call the leader. */
  readonly nodes: ReadonlyMap<string, NatsProcess>;
  readonly urls: readonly string[];
  stop(): Promise<void>;
}

/**
 * Starts a cluster of three; resolves when every node is healthy, which takes a leader. For what only a cluster does:
 * elections, replicas, a node that dies.
 */
export async function startNatsCluster(options: FindNatsOptions = {}): Promise<NatsCluster> {
  // A container would need a network of its own to find the others.
  const env = { ...(options.env ?? process.env), NATS_SERVER_IMAGE: '' };
  const names = ['n1', 'n2', 'n3'];
  const ports = await Promise.all(names.map(() => freePort()));
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ');
  // All at once: a node is healthy only when it has found the others.
  const started = await Promise.all(
    names.map((name, index) =>
      startNats({
        ...options,
        env,
        readyTimeoutMs: 30_000,
        config: `server_name: ${name}\ncluster { name: local, listen: "127.0.0.1:${ports[index]}", routes: [${routes}] }\n`,
      }),
    ),
  );
  return {
    nodes: new Map(names.map((name, index) => [name, started[index] as NatsProcess])),
    urls: started.map((node) => node.url),
    async stop() {
      await Promise.all(started.map((node) => node.stop()));
    },
  };
}
