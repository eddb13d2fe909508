import { topology, type Bus, type PauseState } from '@sluice/messaging';
import { Type } from 'typebox';
import { audit } from '../../audit/audit.ts';
import { traceOf, type App } from '../app.ts';
import { GatewayError } from '../../errors.ts';
import { problemResponses } from '../problem.ts';

/** Every pipeline has the name of its consumer. */
const known: ReadonlySet<string> = new Set(
  topology.streams.flatMap(({ consumers }) => consumers.map(({ name }) => name)),
);

/** `POST /v1/pipelines/{name}:pause` and `:resume`. */
export function pipelineRoutes(
  app: App,
  deps: { readonly bus: Bus; readonly pauseState: PauseState; readonly now: () => number },
): void {
  for (const verb of ['pause', 'resume'] as const) {
    app.post(
      `/v1/pipelines/:name(^[^/:]+)::${verb}`,
      {
        config: { scope: 'admin' },
        schema: {
          operationId: `${verb}Pipeline`,
          summary: verb === 'pause' ? 'Stop pulling, on every replica' : 'Start pulling again',
          tags: ['operations'],
          params: Type.Object({ name: Type.String({ maxLength: 64, description: [...known].sort().join(', ') }) }),
          response: {
            202: Type.Object(
              { name: Type.String(), paused: Type.Boolean() },
              { description: 'Written down, and on its way to every replica. What runs, ends.' },
            ),
            ...problemResponses('not_found', 'unsupported_media_type'),
          },
        },
      },
      async (request, reply) => {
        const { name } = request.params;
        if (!known.has(name)) throw new GatewayError('not_found', 'There is no such pipeline.');
        const paused = verb === 'pause';
        const by = request.account.id;
        await audit(
          deps.bus.port,
          { action: `pipeline.${verb}`, by, target: name, traceId: traceOf(request).traceId },
          deps.now,
        );
        const at = new Date(deps.now()).toISOString();
        await deps.pauseState.set(name, { paused, reason: `paused by ${by}`, by, at });
        reply.code(202);
        return { name, paused };
      },
    );
  }
}
