import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../free-port.ts';
import type { FindNatsOptions } from './find.ts';
import { startNats, type NatsProcess } from './server.ts';

/** Three nats-servers that form one JetStream cluster, as processes on 127.0.0.1. */
export interface NatsCluster {
  /** By server name, which is what stream and consumer info call the leader. */
  readonly nodes: ReadonlyMap<string, NatsProcess>;
  readonly urls: readonly string[];
  /** Stops a node and starts it again as another program, on the same ports and data: an upgrade in place. */
  replace(name: string, options: FindNatsOptions): Promise<void>;
  stop(): Promise<void>;
}

/** How long a node may take until it has found the others and has a leader. */
const READY_TIMEOUT_MS = 30_000;

/**
 * Starts a cluster of three; resolves when every node is healthy, which takes a leader. For what only a cluster does:
 * elections, replicas, a node that dies.
 *
 * @param more further lines of the configuration of each node, such as its `sync_interval`.
 */
export async function startNatsCluster(options: FindNatsOptions = {}, more = ''): Promise<NatsCluster> {
  const names = ['n1', 'n2', 'n3'];
  const folder = await mkdtemp(join(tmpdir(), 'sluice-cluster-'));
  const ports = await Promise.all(names.map(() => freePort()));
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ');
  const start = (name: string, program: FindNatsOptions, at: { port?: number; monitorPort?: number } = {}) =>
    startNats({
      ...program,
      // A container would need a network of its own to find the others.
      env: { ...(program.env ?? process.env), NATS_SERVER_IMAGE: '' },
      ...at,
      storeDir: join(folder, name),
      readyTimeoutMs: READY_TIMEOUT_MS,
      config: `server_name: ${name}\ncluster { name: local, listen: "127.0.0.1:${ports[names.indexOf(name)]}", routes: [${routes}] }\n${more}`,
    });
  // All at once: a node is healthy only when it has found the others.
  const started = await Promise.all(names.map((name) => start(name, options)));
  const nodes = new Map(names.map((name, index) => [name, started[index] as NatsProcess]));
  return {
    nodes,
    urls: started.map((node) => node.url),
    async replace(name, program) {
      const node = nodes.get(name);
      if (node === undefined) throw new RangeError(`no node is named ${name}: ${names.join(', ')}`);
      await node.stop();
      nodes.set(name, await start(name, program, { port: node.port, monitorPort: node.monitorPort }));
    },
    async stop() {
      await Promise.all([...nodes.values()].map((node) => node.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
