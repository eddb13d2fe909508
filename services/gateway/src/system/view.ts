import { SILENT_MS, topology, type PauseEntry, type ReplicaWatch } from '@sluice/messaging';
import { Type, type Static } from 'typebox';
import type { BrokerState, StreamState } from '../admission/broker-watch.ts';
import { DateTime } from '../jobs/job-view.ts';

const text = Type.String();
const whole = Type.Integer();

export const ConsumerStats = Type.Object(
  {
    name: text,
    pending: Type.Integer({ description: 'Waiting to be delivered.' }),
    inFlight: Type.Integer({ description: 'Delivered and not settled, delayed retries included.' }),
    redelivered: Type.Integer({ description: 'Of those, out for the second time or more.' }),
    pulls: Type.Integer({ description: 'Open requests for work: 0 means that no worker asks.' }),
    deadLetters: whole,
    ratePerSecond: Type.Number({ description: 'Deliveries, over the last seconds.' }),
  },
  { additionalProperties: false },
);
export const StreamStats = Type.Object(
  {
    name: text,
    kind: Type.Unsafe<'work' | 'log'>(Type.String({ enum: ['work', 'log'] })),
    messages: whole,
    bytes: whole,
    maxMessages: Type.Optional(Type.Integer({ description: 'More are refused.' })),
    oldestAgeMs: Type.Optional(whole),
    stuck: Type.Optional(Type.Integer({ description: 'Held by a work queue and known to no consumer.' })),
    drainPerSecond: Type.Optional(Type.Number()),
    consumers: Type.Array(ConsumerStats),
  },
  { additionalProperties: false },
);

const ReplicaView = Type.Object(
  {
    instance: text,
    version: text,
    startedAt: text,
    state: Type.Unsafe<'up' | 'failing' | 'silent'>(
      Type.String({
        enum: ['up', 'failing', 'silent'],
        description: '`failing`: it says itself why it is not at work. `silent`: nothing was heard of it for a second.',
      }),
    ),
    silentMs: whole,
    reasons: Type.Array(text),
    pipelines: Type.Array(
      Type.Object(
        {
          name: Type.String({ description: 'The consumer whose messages it handles.' }),
          state: text,
          inFlight: whole,
          buffered: whole,
          handled: whole,
          ratePerSecond: Type.Number(),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
const Trouble = Type.Object(
  { about: Type.String(), detail: Type.String({ description: 'What is wrong, and what to do.' }) },
  { additionalProperties: false },
);
export const SystemView = Type.Object(
  {
    at: DateTime,
    services: Type.Array(
      Type.Object({ name: text, replicas: Type.Array(ReplicaView) }, { additionalProperties: false }),
    ),
    streams: Type.Array(StreamStats),
    paused: Type.Array(
      Type.Object({ pipeline: text, reason: text, by: text, at: text }, { additionalProperties: false }),
    ),
    troubles: Type.Array(Trouble, { description: 'What is not as it should be; empty when all is well.' }),
  },
  { $id: 'System', additionalProperties: false },
);
export type SystemView = Static<typeof SystemView>;
type Service = SystemView['services'][number];

/** Every stream of the system by its state on the broker. */
export function statsOf(stream: StreamState, nowMs: number): SystemView['streams'][number] {
  const { name, messages, bytes, maxMessages, oldestAtMs, drainPerSecond, consumers } = stream;
  const isWork = stream.retention === 'workqueue';
  const known = consumers.reduce((sum, consumer) => sum + consumer.pending + consumer.ackPending, 0);
  return {
    name,
    kind: isWork ? ('work' as const) : ('log' as const),
    messages,
    bytes,
    ...(maxMessages > 0 ? { maxMessages } : {}),
    ...(oldestAtMs === undefined ? {} : { oldestAgeMs: Math.max(0, Math.round(nowMs - oldestAtMs)) }),
    ...(isWork ? { stuck: Math.max(0, messages - known), drainPerSecond } : {}),
    consumers: consumers.map((consumer) => ({
      name: consumer.name,
      pending: consumer.pending,
      inFlight: consumer.ackPending,
      redelivered: consumer.redelivered,
      pulls: consumer.waiting,
      deadLetters: consumer.deadLetters,
      ratePerSecond: consumer.ratePerSecond,
    })),
  };
}

/** The whole system as it stands: what the broker says, what the replicas say, and what is wrong. */
export function systemView(input: {
  readonly broker: BrokerState;
  readonly replicas: ReturnType<ReplicaWatch['replicas']>;
  readonly paused: ReadonlyMap<string, PauseEntry>;
  readonly reasons: readonly string[];
  readonly held: readonly string[];
  readonly nowMs: number;
}): SystemView {
  const services = new Map<string, Service['replicas']>();
  for (const { service, held: _, ...replica } of input.replicas) {
    const isSilent = replica.silentMs > SILENT_MS;
    const state = isSilent ? 'silent' : replica.reasons.length > 0 ? 'failing' : 'up';
    const view: Service['replicas'][number] = {
      ...replica,
      state,
      reasons: [...replica.reasons],
      // What a replica did before it fell silent it does no longer.
      pipelines: replica.pipelines.map((pipeline) => ({
        ...pipeline,
        ...(isSilent ? { ratePerSecond: 0, inFlight: 0, buffered: 0 } : {}),
      })),
    };
    services.set(service, [...(services.get(service) ?? []), view]);
  }
  const streams = input.broker.streams.map((stream) => statsOf(stream, input.nowMs));
  const paused = [...input.paused].map(([pipeline, { reason, by, at }]) => ({ pipeline, reason, by, at }));
  const view = { services: [...services].map(([name, replicas]) => ({ name, replicas })), streams, paused };
  return { at: new Date(input.broker.atMs).toISOString(), ...view, troubles: [...troublesOf(view, input)] };
}

const NEARLY_FULL = 0.8;
/** Consumers that handlers of services read; others are read by sequence and never ask. */
const pulled = new Set(topology.streams.flatMap(({ consumers }) => consumers.map(({ name }) => name)));

function* troublesOf(
  { services, streams, paused }: Pick<SystemView, 'services' | 'streams' | 'paused'>,
  { reasons, held }: { readonly reasons: readonly string[]; readonly held: readonly string[] },
): Generator<SystemView['troubles'][number]> {
  for (const reason of reasons) yield { about: 'gateway', detail: `It cannot take work: ${reason}.` };
  for (const detail of held) yield { about: 'jobs', detail };
  for (const { name, replicas } of services) {
    for (const { instance, state, silentMs, reasons: why } of replicas) {
      if (state === 'silent') {
        const seconds = Math.round(silentMs / 1_000);
        yield {
          about: `${name} ${instance}`,
          detail: `Nothing was heard of this replica for ${seconds} s: its process ended, hangs, or has no connection to NATS.`,
        };
      } else if (state === 'failing') yield { about: `${name} ${instance}`, detail: why.join('; ') };
    }
  }
  const isPaused = new Set(paused.map(({ pipeline }) => pipeline));
  for (const { pipeline, by } of paused) {
    yield { about: pipeline, detail: `Paused by ${by}: its work waits until it is resumed.` };
  }
  for (const { name, messages, maxMessages, stuck = 0, consumers } of streams) {
    if (maxMessages !== undefined && messages > maxMessages * NEARLY_FULL) {
      const detail = `The stream holds ${messages} of ${maxMessages} messages; new ones are refused when it is full. Start more replicas of what reads it.`;
      yield { about: name, detail };
    }
    if (stuck > 0)
      yield { about: name, detail: `Messages that no consumer knows, so that they are not delivered: ${stuck}.` };
    for (const consumer of consumers) {
      if (
        consumer.pending > 0 &&
        consumer.pulls === 0 &&
        consumer.inFlight === 0 &&
        pulled.has(consumer.name) &&
        !isPaused.has(consumer.name)
      ) {
        const detail = `Messages of ${name} that wait: ${consumer.pending}, and no replica asks for them. Start the service that handles them.`;
        yield { about: consumer.name, detail };
      }
      if (consumer.deadLetters > 0) {
        const detail = `Messages that were given up: ${consumer.deadLetters}. Look at the dead letters, fix the cause, redrive them.`;
        yield { about: consumer.name, detail };
      }
    }
  }
}
