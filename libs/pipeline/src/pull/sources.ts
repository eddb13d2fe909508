import type { Clock } from '../clock.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import { PARTITION_GROUP } from '../nats/jetstream-api.ts';
import type { NatsMessage, NatsPort } from '../nats/port.ts';
import { errorMessage } from '../process/describe-error.ts';
import type { LiveConsumers } from './live-consumers.ts';
import { Puller } from './puller.ts';
import { SourceHealth } from './source-health.ts';

/** What the sources of a pipeline need of it. */
export interface SourcesDeps<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
  readonly live: LiveConsumers<T, D>;
  /** How often a consumer is looked at without a reason; undefined for never. */
  readonly recheckEveryMs: number | undefined;
  readonly receive: (source: number, raw: NatsMessage, puller: Puller) => void;
  readonly unpinned: (source: number, pin: string) => void;
  /** Ask for what has room: at the end of this turn, or now. */
  readonly requestSoon: () => void;
  readonly request: () => void;
  readonly probeSettling: (source: number) => Promise<boolean>;
  /** The trouble of a source changed. */
  readonly changed: (reason: string) => void;
}

/** Makes a puller and its health for every source. */
export function makeSources<T, D>(
  deps: SourcesDeps<T, D>,
): {
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
} {
  const { spec, port, clock, log, observe, live, receive, requestSoon } = deps;
  const { expiresMs, idleHeartbeatMs } = spec.flow;
  const sources: SourceHealth[] = [];
  const pullers = spec.sources.map(({ stream, consumer, body, partition }, index) => {
    const puller: Puller = new Puller(
      port,
      clock,
      { stream, consumer, expiresMs, idleHeartbeatMs, group: partition === undefined ? undefined : PARTITION_GROUP },
      {
        message: (raw) => receive(index, raw, puller),
        unpinned: (pin) => deps.unpinned(index, pin),
        ended: requestSoon,
        refused: (description) => sources[index]?.refused(description),
        missing: (description) => {
          live.interrupted(index);
          sources[index]?.missing(description);
        },
        alive: () => sources[index]?.alive(),
        bodyless: (raw) => {
          if (body === 'none') receive(index, raw, puller);
          else sources[index]?.bodyless();
        },
        failed: (error) => {
          const fields = { pipeline: spec.name, stream, error: errorMessage(error) };
          log.error(fields, 'a delivery could not be read, ack_wait brings it back');
        },
      },
    );
    const maxBatch = live.at(index)?.maxBatch;
    if (maxBatch !== undefined) puller.maxBatch = maxBatch;
    const health: SourceHealth = new SourceHealth(puller, clock, {
      pipeline: spec.name,
      observe,
      log,
      retry: deps.request,
      changed: () => deps.changed(health.trouble ?? 'source is back'),
      recheck: async () => {
        const { problems, missing } = await live.check(index);
        // Pulls say that themselves, and are what it takes to notice that it is back.
        return missing ? [] : problems.map((problem) => problem.message);
      },
      probeSettling: () => deps.probeSettling(index),
      recheckEveryMs: deps.recheckEveryMs,
    });
    sources.push(health);
    return puller;
  });
  return { pullers, sources };
}
