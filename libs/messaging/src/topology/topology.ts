import { channels, jobChannels, jobKindEntries, type JobKindSpec, type StreamName } from '@sluice/contracts';
import { bucketList } from './buckets.ts';
import { lifetimes } from './lifetimes.ts';
import type { ConsumerSpec, StreamSpec as AnyStreamSpec, Topology as AnyTopology } from '../provision/specs.ts';

/** A stream of the catalogue. */
export type StreamSpec = AnyStreamSpec<StreamName>;
/** The streams of the catalogue and their consumers. */
export type Topology = AnyTopology<StreamName>;

const consumer = (name: string, filterSubjects: readonly string[], maxAckPending = 1_000): ConsumerSpec => ({
  name,
  filterSubjects,
  ackWaitMs: 30_000,
  maxAckPending,
});

const work = (
  name: StreamName,
  about: string,
  storeShare: number,
  subjects: readonly string[],
  consumers: readonly ConsumerSpec[],
): StreamSpec => ({
  name,
  about,
  kind: 'work',
  subjects,
  storeShare,
  maxAgeMs: 0,
  maxMessages: 100_000,
  duplicateWindowMs: lifetimes.duplicates,
  consumers,
});

/** The subjects of a stream, as the catalogue has them. */
const subjectsOf = (stream: StreamName): readonly string[] =>
  Object.values(channels)
    .filter((channel) => channel.stream === stream)
    .map(({ template }) => template);

const log = (
  name: StreamName,
  about: string,
  storeShare: number,
  subjects: readonly string[],
  maxAgeMs: number,
  consumers: readonly ConsumerSpec[] = [],
): StreamSpec => ({
  name,
  about,
  kind: 'log',
  subjects,
  storeShare,
  maxAgeMs,
  maxMessages: -1,
  duplicateWindowMs: lifetimes.duplicates,
  consumers,
});

/**
 * Messages of a lane that may wait for a retry at once. Mails to a domain in trouble wait for hours, and a consumer with
 * all its pending acknowledgements taken delivers nothing to any worker.
 */
const MAX_WAITING = 20_000;

/** What the lanes of all kinds of jobs may hold together, shared equally. */
const LANES_SHARE = { normal: 0.12, express: 0.05 } as const;

/** The work queues of a kind of job. */
function lanesOf({ about, lanes, sources }: JobKindSpec): readonly StreamSpec[] {
  const lane = (name: StreamName, suffix: string, which: 'normal' | 'express'): StreamSpec =>
    work(
      name,
      `${about}${suffix}`,
      LANES_SHARE[which] / jobKindEntries.length,
      subjectsOf(name),
      sources.map((source) => consumer(source.consumer, [source[which].template], MAX_WAITING)),
    );
  return [lane(lanes.normal, '', 'normal'), lane(lanes.express, ' first', 'express')];
}

/** What the jobs may hold, shared equally by their partitions. */
const JOBS_SHARE = 0.27;

/** The streams of jobs. */
const jobStreamsOf = (partitions: number): readonly StreamSpec[] =>
  jobChannels.slice(0, partitions).map(({ stream, template }, partition) => {
    const subjects = [template.replace(/\{\w+\}/g, '*')];
    const about =
      partition === 0 ? 'every transition of every job' : `every transition of every job of partition ${partition}`;
    const spec = log(stream, about, JOBS_SHARE / partitions, subjects, lifetimes.job, [
      consumer('orchestrator', subjects),
      // A cursor of its own for each stream that can be full: what waits for one holds up nothing else.
      { ...consumer('client_callbacks', subjects), headersOnly: true, startBehind: 'orchestrator' },
      { ...consumer('webhook_calls', subjects), headersOnly: true, startBehind: 'orchestrator' },
    ]);
    return partitions === 1 ? spec : { ...spec, givesUpRoom: true };
  });

/**
 * The streams, durable consumers and buckets of the system, with their lifetimes and bounds. The shares of the store sum up
 * to less than 0.88: an upgrade lowers no stream, so what is left holds the streams that later versions add, and the indexes
 * of the server. Every subject of a work queue has a consumer: one without would
 * fill for ever. The express lanes are streams of their own, because a message limit is stream-wide and a flood of
 * normal work would shut them too.
 *
 * @param partitions Streams that jobs are divided over.
 */
export const topologyOf = (partitions: number): Topology => ({
  streams: [
    ...jobStreamsOf(partitions),
    // No wildcard: a command that no consumer takes is refused when it is published, instead of kept for ever.
    work('USERS', 'commands of clients', 0.03, subjectsOf('USERS'), [
      // Commands of an account that is over its rate wait: they must not take the room of other accounts.
      consumer('commands', subjectsOf('USERS'), 50_000),
    ]),
    {
      ...work(
        'RESULTS',
        'results of work',
        0.02,
        // Apart from the commands, which anyone may send: a flood of them would keep jobs from ending.
        subjectsOf('RESULTS'),
        [
          ...jobKindEntries.map(([, { result }]) => consumer(result.consumer, [result.channel.template])),
          consumer('email_deferred', [channels.emailDeferred.template]),
        ],
      ),
      takesOverFrom: 'USERS',
    },
    ...jobKindEntries.flatMap(([, kind]) => lanesOf(kind)),
    work('CLIENTS', 'callbacks to clients', 0.02, ['client.>'], [consumer('callbacks', ['client.>'])]),
    // A receiver that is down has its calls wait here for hours: they must not take the room of other accounts.
    {
      ...work(
        'WEBHOOKS',
        'URLs to call when a job ended',
        0.02,
        ['webhook.>'],
        [consumer('webhooks', ['webhook.>'], 50_000)],
      ),
      // Of one account: the others must find room when its receivers are down.
      maxMessagesPerSubject: 10_000,
    },
    {
      ...log('EVENTS', 'what happened to every message', 0.1, ['events.*.*'], lifetimes.event),
      // A request of many events is stored whole, together with the marker of its Idempotency-Key, which expires.
      atomicBatches: true,
      messageTtl: true,
    },
    log('DLQ', 'what no retry could help, for an operator', 0.03, ['dlq.*.*'], lifetimes.deadLetter, [
      consumer('dead_letters', ['dlq.*.*']),
    ]),
    { ...log('AUDIT', 'who did what to dead letters, pipelines and keys', 0.01, ['audit.>'], 0), appendOnly: true },
    {
      ...log('CREDITS', 'the ledger of every account', 0.04, ['credits.*', 'credits.*.*.*'], 0, [
        consumer('charges', ['credits.*']),
      ]),
      appendOnly: true,
      // An entry and the marker of the step that asked for it are stored together; the marker expires.
      atomicBatches: true,
      messageTtl: true,
    },
  ],
  buckets: bucketList,
});

/** The topology of a system whose jobs are in one stream. */
export const topology: Topology = topologyOf(1);
