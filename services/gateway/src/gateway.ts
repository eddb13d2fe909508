import type { State } from '@sluice/pipeline';
import { startApi, type Api } from './api.ts';
import { openGround, type GatewayParts } from './dependencies.ts';
import { startPipelines } from './pipelines.ts';
import type { BrokerWatch } from './admission/broker-watch.ts';

/**
 * What one process of the gateway does. `all` is the whole of it. Where answers must stay quick under load, `api` and
 * `worker` share the work over two processes: what drives jobs then takes no turn of the loop that answers clients.
 */
export type Role = 'all' | 'api' | 'worker';

/** Both halves in one process. */
export interface Gateway extends Api {
  readonly watch: BrokerWatch;
  warnings(): readonly string[];
  /** Its pipelines and their states. */
  readonly pipelines: () => readonly { readonly name: string; readonly state: State }[];
}

/** One process of the gateway, whatever its role. */
export interface GatewayProcess {
  /** Where it answers, unless it is a `worker`. */
  readonly url: string | undefined;
  readonly watch: BrokerWatch;
  reasons(): readonly string[];
  /** What an operator should know of although it is at work. */
  warnings(): readonly string[];
  stop(): Promise<void>;
}

/** Starts the HTTP server and the pipelines of a gateway. */
export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const ground = await openGround(parts);
  const pipelines = await startPipelines(parts, ground);
  const api = await startApi(parts, ground, () => pipelines.reasons());
  const stop = async (): Promise<void> => {
    await api.stop();
    await pipelines.stop();
    await ground.close();
  };
  let stopped: Promise<void> | undefined;
  return {
    ...api,
    watch: ground.watch,
    pipelines: pipelines.states,
    warnings: () => pipelines.warnings(),
    // Safe to call twice.
    stop: () => (stopped ??= stop()),
  };
}

/** Starts what a role asks for. */
export async function startRole(role: Role, parts: GatewayParts): Promise<GatewayProcess> {
  if (role === 'all') return startGateway(parts);
  const ground = await openGround(parts);
  const { watch } = ground;
  const half = role === 'api' ? await startApi(parts, ground) : await startPipelines(parts, ground);
  const url = 'url' in half ? half.url : undefined;
  return {
    url,
    watch,
    reasons: () => half.reasons(),
    warnings: () => ('warnings' in half ? half.warnings() : []),
    async stop() {
      await half.stop();
      await ground.close();
    },
  };
}
