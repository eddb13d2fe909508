import type { Clock } from './clock.ts';
import type { ResolvedSpec } from './config/resolve-spec.ts';
import type { Limiter } from './limits/limiter.ts';
import type { NatsPort } from './nats/port.ts';
import type { Partitions } from './partitions/partitions.ts';
import type { Delivery } from './process/delivery.ts';
import type { Processor } from './process/processor.ts';
import type { LiveConsumers } from './pull/live-consumers.ts';
import type { Demand } from './pull/demand.ts';
import type { Prefetch } from './pull/prefetch.ts';
import type { Puller } from './pull/puller.ts';
import type { SourceHealth } from './pull/source-health.ts';
import type { Condition, Explanation, Health, Snapshot, State } from './running.ts';
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
  readonly demand: Demand;
  readonly limiter: Limiter<T> | undefined;
  readonly partitions: Partitions<T, D> | undefined;
}

/** A message that is held, by the place of its source in the spec: each partition is a source of its own. */
export function findDeclared<T, D>(
  spec: ResolvedSpec<T, D>,
  { buffer }: InFlight<T, D>,
  sequence: number,
  declared: number,
): Delivery<T> | undefined {
  for (const [index, source] of spec.sources.entries()) {
    const delivery = source.declared === declared ? buffer.find(index, sequence) : undefined;
    if (delivery !== undefined) return delivery;
  }
  return undefined;
}

/** The gauges of this instant. */
export function snapshotOf<T, D>(from: StatusSources<T, D>, state: State, connections: number): Snapshot {
  const { spec, inFlight, pullers, prefetch, settlements, clock, limiter } = from;
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
    limited: limiter?.waiting ?? 0,
    deferred: limiter?.deferrals.size ?? 0,
    lag: pullers.reduce((sum, puller) => sum + puller.lag, 0),
    connections,
    partitions: from.partitions?.heldCount ?? 0,
  };
}

/** Messages that have waited for so long are a backlog, not a burst. */
const CAUGHT_UP_WITHIN_MS = 60_000;

/** Whether the pipeline makes progress. */
export function healthOf<T, D>(from: StatusSources<T, D>, state: State): Health {
  const silentMs = Math.max(0, ...from.pullers.map((puller) => puller.silentMs()));
  const conditions = conditionsOf(from, state);
  const reason = conditions.find(({ serious }) => serious)?.detail;
  const partitions = from.partitions?.shares() ?? [];
  return { ok: reason === undefined, reason, conditions, silentMs, partitions };
}

/** The gravest first. */
function conditionsOf<T, D>(from: StatusSources<T, D>, state: State): readonly Condition[] {
  if (state === 'stopped') return [{ code: 'stopped', detail: 'stopped', serious: true }];
  if (!from.port.connected) return [{ code: 'notConnected', detail: 'not connected to NATS', serious: true }];
  const { spec, clock, inFlight, processor, live, limiter } = from;
  const found: Condition[] = [];
  for (const index of spec.sources.keys()) found.push(...troubleOf(from, index));
  const { failing } = processor.claims;
  if (failing !== undefined) {
    found.push({ code: 'idempotencyStoreFails', detail: `the idempotency store fails: ${failing}`, serious: true });
  }
  if (inFlight.parked(clock.now()) >= live.maxAckPending) {
    const detail = `max_ack_pending (${live.maxAckPending}) is taken by messages that wait for their retry`;
    found.push({ code: 'retriesParked', detail, serious: true });
  }
  if (limiter?.leases?.failing !== undefined) {
    const detail = `the store of shared limits fails: ${limiter.leases.failing}`;
    found.push({ code: 'limitStoreFails', detail, serious: true });
  }
  if (limiter?.isFull === true && spec.delayed === undefined) {
    const detail = `${limiter.deferrals.size} messages wait elsewhere for their limit, as many as max_ack_pending leaves room for`;
    found.push({ code: 'deferralsFull', detail, serious: false });
  }
  if (inFlight.hungHandlers >= inFlight.concurrency) {
    const detail = 'every slot is taken by a handler that does not return';
    found.push({ code: 'handlersHung', detail, serious: true });
  }
  for (const index of spec.sources.keys())
    if (from.partitions?.reads(index) !== false) found.push(...backlogOf(from, index));
  for (const { stream, consumer, unread } of from.partitions?.shares() ?? []) {
    if (unread.length === 0) continue;
    const detail = `${stream}/${consumer}: no replica reads partition ${unread.join(', ')}`;
    found.push({ code: 'partitionsUnread', detail, serious: false });
  }
  return found;
}

const TROUBLE_CODES = {
  stalled: 'stalled',
  missing: 'missing',
  drifted: 'consumerChanged',
  refused: 'refused',
  denied: 'permissionDenied',
} as const;

function troubleOf<T, D>({ spec, sources, live }: StatusSources<T, D>, index: number): readonly Condition[] {
  const { trouble, detail = '' } = sources[index] ?? {};
  if (trouble === undefined) return [];
  const { stream, consumer } = spec.sources[index] ?? { stream: '', consumer: '' };
  const code = trouble === 'drifted' && live.at(index)?.paused === true ? 'pausedByServer' : TROUBLE_CODES[trouble];
  const text = `${stream}/${consumer} is ${trouble}${detail === '' ? '' : `: ${detail}`}`;
  return [{ code, detail: text, serious: true }];
}

function backlogOf<T, D>({ spec, live, inFlight, clock }: StatusSources<T, D>, index: number): readonly Condition[] {
  const consumer = live.at(index);
  const name = `${spec.sources[index]?.stream ?? ''}/${spec.sources[index]?.consumer ?? ''}`;
  const { pending = 0, ackPending = 0, maxAckPending } = consumer ?? {};
  const found: Condition[] = [];
  if (maxAckPending !== undefined && pending > 0 && ackPending >= maxAckPending) {
    const detail = `${name}: max_ack_pending (${maxAckPending}) is reached, ${pending} messages wait behind it`;
    // With messages here the pipeline works them off; without, they are at other replicas, or lost to a dead one.
    found.push({ code: 'ackPendingFull', detail, serious: inFlight.buffer.heldCount() === 0 });
  }
  const behindMs = live.behindMs(index, clock.now());
  if (behindMs >= CAUGHT_UP_WITHIN_MS) {
    const detail = `${name}: ${pending} messages wait, and some have for ${Math.round(behindMs / 1000)} s on end`;
    found.push({ code: 'notCaughtUp', detail, serious: false });
  }
  return found;
}

/** Why the message at `sequence` does not run, as far as this process knows. */
export function explain<T, D>(from: StatusSources<T, D>, state: State, sequence: number, source: number): Explanation {
  const delivery = findDeclared(from.spec, from.inFlight, sequence, source);
  if (delivery === undefined) return from.limiter?.deferrals.explain(source, sequence) ?? { state: 'notHeld' };
  const { partition } = delivery;
  const why = explainHeld(from, state, delivery);
  return partition === undefined ? why : { ...why, partition };
}

function explainHeld<T, D>(from: StatusSources<T, D>, state: State, delivery: Delivery<T>): Explanation {
  const { inFlight, clock, demand, limiter } = from;
  if (inFlight.takingOver.has(delivery)) return { state: 'takingOver' };
  const now = clock.now();
  const run = inFlight.runOf(delivery);
  if (run !== undefined) return { state: 'running', forMs: now - run.startedAt };
  const waiting = inFlight.waits.get(delivery);
  if (waiting !== undefined) return { state: 'backingOff', forMs: Math.max(0, waiting.dueAt - now) };
  const { key } = delivery;
  const ahead = key === undefined ? 0 : inFlight.buffer.keyOrder.ahead(key, delivery);
  if (key !== undefined && ahead > 0) return { state: 'orderKeyBusy', key, ahead };
  if (state !== 'starting' && state !== 'running') return { state };
  const forMs = demand.rateWaitMs();
  if (forMs > 0) return { state: 'rateLimited', forMs };
  const aheadHere = inFlight.buffer.ahead(delivery);
  const waitsFor = limiter?.waitsFor(delivery);
  if (waitsFor === undefined) return { state: 'queued', ahead: aheadHere };
  return { state: 'limited', ...waitsFor, key: delivery.limitKey, ahead: aheadHere };
}
