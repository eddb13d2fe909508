import { jobChannels, jobKindEntries, type StreamName } from '@sluice/contracts';
import { bucketStream, topology } from '@sluice/messaging';

/** Every partition that there can be; those that are not there are passed over. */
const jobStreams: readonly StreamName[] = jobChannels.map(({ stream }) => stream);
const lanes = jobKindEntries.flatMap(([, kind]) => [kind.lanes.normal, kind.lanes.express]);

/**
 * Where a message goes when it leaves a stream, or when the consumer of a log has taken it. It is stored there before it
 * is acknowledged here: a backup that reads a stream before those it passes on to has every message at least once, and
 * the ids of messages make the second copy harmless.
 */
export const passesOn: ReadonlyMap<StreamName, readonly StreamName[]> = new Map<StreamName, readonly StreamName[]>([
  ['USERS', [...jobStreams, 'DLQ']],
  ['RESULTS', [...jobStreams, 'DLQ']],
  ...jobStreams.map((stream) => [stream, [...lanes, 'CLIENTS', 'WEBHOOKS', 'CREDITS']] as const),
  ...lanes.map((lane) => [lane, ['RESULTS', 'DLQ']] as const),
  ['CLIENTS', ['DLQ']],
  ['WEBHOOKS', ['DLQ']],
  ['DLQ', jobStreams],
  ['CREDITS', []],
  ['EVENTS', []],
  ['AUDIT', []],
]);

/**
 * The steps that run against the order, because a job goes round in a circle. What they move while a backup is made can be
 * in neither stream. Its job is then open and without a message, and the reconciler publishes its work again.
 */
export const againstOrder: readonly (readonly [from: StreamName, to: StreamName])[] = [
  ...lanes.map((lane) => [lane, 'RESULTS'] as const),
  ...jobStreams.map((stream) => ['DLQ', stream] as const),
];

const streams: readonly StreamName[] = [
  'USERS',
  'RESULTS',
  ...jobStreams,
  ...lanes,
  'CLIENTS',
  'WEBHOOKS',
  'DLQ',
  // A charge is stored before its job; the charge of a job that the backup does not have is given back.
  'CREDITS',
  'EVENTS',
  'AUDIT',
];

/**
 * The streams and buckets of the system in the order in which a backup reads them. Buckets come last: the inbox of mails
 * then knows every mail that was sent and whose message is in a lane of the backup.
 */
export const readOrder: readonly string[] = [...streams, ...topology.buckets.map(bucketStream)];
