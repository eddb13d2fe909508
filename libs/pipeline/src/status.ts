import type { Clock } from './clock.ts';
import type { ResolvedSpec } from './config/resolve-spec.ts';
import type { NatsPort } from './nats/port.ts';
import type { Processor } from './process/processor.ts';
import type { LiveConsumers } from './pull/live-consumers.ts';
import type { Prefetch } from './pull/prefetch.ts';
import type { Puller } from './pull/puller.ts';
import type { SourceHealth } from './pull/source-health.ts';
import type { Explanation, Health, Snapshot, State } from './running.ts';
import type { InFlight } from './schedule/in-flight.ts';
import type { Settlements } from './settle/settlements.ts';

/** What a status is read from. */
export interface StatusSources<T, D> {
  readonly spec: ResolvedSpec<T, D>;
  readonly clock: Clock;
  readonly port: NatsPort;
  readonly inFlight: InFlight<T, D>;
  readonly settlements: Settlements;
  readonly processor: Processor<T, D>;
  readonly prefetch: Prefetch | undefined;
  readonly pullers: readonly Puller[];
  readonly sources: readonly SourceHealth[];
  readonly live: LiveConsumers<T, D>;
}

/** The gauges of this instant. */
export function snapshotOf<T, D>(from: StatusSources<T, D>, state: State, connections: number): Snapshot {
  const { spec, inFlight, pullers, prefetch, settlements, clock } = from;
  const { inHandlers } = inFlight;
  return {
    state,
    inFlight: inHandlers + (spec.work.kind === 'single' ? inFlight.admitting : 0),
    buffered: inFlight.buffer.heldCount() - inHandlers - inFlight.admitting,
    requested: pullers.reduce((sum, puller) => sum + puller.requested, 0),
    prefetch: prefetch?.current ?? spec.flow.prefetch ?? 0,
    unconfirmedAcks: settlements.unconfirmed,
    heldSettlements: settlements.held,
    hungHandlers: inFlight.hungHandlers,
    parked: inFlight.parked(clock.now()),
    lag: pullers.reduce((sum, puller) => sum + puller.lag, 0),
    connections,
  };
}

/** Whether the pipeline makes progress. */
export function healthOf<T, D>(from: StatusSources<T, D>, state: State): Health {
  const { spec, clock, port, inFlight, processor, pullers, sources, live } = from;
  const silentMs = Math.max(0, ...pullers.map((puller) => puller.silentMs()));
  let reason: string | undefined;
  if (state === 'stopped') reason = 'stopped';
  else if (!port.connected) reason = 'not connected to NATS';
  else if (state === 'disconnected') {
    const index = sources.findIndex((source) => source.trouble !== undefined);
    const source = spec.sources[index];
    const { trouble = 'unreachable', detail = '' } = sources[index] ?? {};
    reason = `${source?.stream ?? ''}/${source?.consumer ?? ''} is ${trouble}${detail === '' ? '' : `: ${detail}`}`;
  } else if (processor.claims.failing !== undefined) {
    reason = `the idempotency store fails: ${processor.claims.failing}`;
  } else if (inFlight.parked(clock.now()) >= live.maxAckPending) {
    reason = `max_ack_pending (${live.maxAckPending}) is taken by messages that wait for their retry`;
  } else if (inFlight.hungHandlers >= spec.flow.concurrency)
    reason = 'every slot is taken by a handler that does not return';
  return { ok: reason === undefined, reason, silentMs };
}

/** Why the message at `sequence` does not run, as far as this process knows. */
export function explain<T, D>(from: StatusSources<T, D>, state: State, sequence: number, source: number): Explanation {
  const { inFlight, clock } = from;
  const delivery = inFlight.buffer.find(source, sequence);
  if (delivery === undefined) return { state: 'notHeld' };
  const now = clock.now();
  for (const run of inFlight.runs) {
    if (run.deliveries.includes(delivery)) return { state: 'running', forMs: now - run.startedAt };
  }
  const waiting = inFlight.waitingHere.get(delivery);
  if (waiting !== undefined) return { state: 'backingOff', forMs: Math.max(0, waiting.dueAt - now) };
  const { key } = delivery;
  if (key !== undefined && inFlight.buffer.keyOrder.isBehind(key, delivery)) return { state: 'orderKeyBusy', key };
  return { state: state === 'starting' || state === 'running' ? 'queued' : state };
}
