import type { State } from '@sluice/pipeline';
import { stopInOrder, type StopStep } from '@sluice/service';
import { startApi, type Api } from './api.ts';
import { openSharedDependencies, type GatewayDependencies, type SharedDependencies } from './dependencies.ts';
import { startPipelines } from './pipelines.ts';
import type { BrokerWatch } from './admission/broker-watch.ts';

/**
 * What one process of the gateway does. `all` is the whole of it. Where answers must stay quick under load, `api` and
 * `worker` share the work over two processes: what drives jobs then takes no turn of the loop that answers clients.
 */
export type Role = 'all' | 'api' | 'worker';

/** Both halves in one process. */
export interface Gateway extends Api, Pick<GatewayProcess, 'stop'> {
  readonly watch: BrokerWatch;
  warnings(): readonly string[];
  /** Its pipelines and their states. */
  readonly pipelines: () => readonly { readonly name: string; readonly state: State }[];
}

/** One process of the gateway, in any role. */
export interface GatewayProcess {
  /** Where it answers, unless it is a `worker`. */
  readonly url: string | undefined;
  readonly watch: BrokerWatch;
  reasons(): readonly string[];
  /** What an operator should know of although it is at work. */
  warnings(): readonly string[];
  /** How it ends, in order. */
  readonly stopSteps: readonly StopStep[];
  /** Runs the steps within the drain timeout and returns what was not done. Safe to call twice. */
  stop(): Promise<readonly string[]>;
}

/** Starts the HTTP server and the pipelines of a gateway. */
export async function startGateway(dependencies: GatewayDependencies): Promise<Gateway> {
  const shared = await openSharedDependencies(dependencies);
  const pipelines = await startPipelines(dependencies, shared);
  const api = await startApi(
    dependencies,
    shared,
    () => pipelines.reasons(),
    () => pipelines.held(),
  );
  return {
    ...api,
    watch: shared.watch,
    pipelines: pipelines.states,
    warnings: () => [...api.warnings(), ...pipelines.warnings()],
    ...stopping(dependencies, [...api.stopSteps, ...pipelines.stopSteps, closing(shared)]),
  };
}

/** Starts what a role asks for. */
export async function startRole(role: Role, dependencies: GatewayDependencies): Promise<GatewayProcess> {
  if (role === 'all') return startGateway(dependencies);
  const shared = await openSharedDependencies(dependencies);
  const { watch } = shared;
  const half = role === 'api' ? await startApi(dependencies, shared) : await startPipelines(dependencies, shared);
  const url = 'url' in half ? half.url : undefined;
  return {
    url,
    watch,
    reasons: () => half.reasons(),
    warnings: () => half.warnings(),
    ...stopping(dependencies, [...half.stopSteps, closing(shared)]),
  };
}

/** The steps, and a `stop` that runs them once. */
function stopping(
  { settings }: GatewayDependencies,
  stopSteps: readonly StopStep[],
): Pick<GatewayProcess, 'stop' | 'stopSteps'> {
  let stopped: Promise<readonly string[]> | undefined;
  return { stopSteps, stop: () => (stopped ??= stopInOrder(settings.drainTimeoutMs, stopSteps)) };
}

const closing = (shared: SharedDependencies): StopStep => ({
  what: 'closing what both halves share',
  stop: () => shared.close(),
});
