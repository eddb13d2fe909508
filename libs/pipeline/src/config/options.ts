/**
 * Every option of a pipeline, once: `spec.ts` derives the types, `resolve-spec.ts` the checks and defaults, and
 * `OPTIONS.md` is printed from here.
 */
import { call, choiceOr, maybeCall, maybeNumber, maybeText, number, numberOr, text, textOr } from './schema.ts';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const NAME_SHAPE = '1 to 64 letters, digits, "-" or "_"';
const JETSTREAM_NAME = /^[^\s.*>/\\]{1,255}$/;
const JETSTREAM_SHAPE = 'a stream or consumer name (no blanks, ".", "*", ">", "/")';
/** A timer of Node fires at once when its delay is longer. */
const MAX_TIMER_MS = 2_147_483_647;
const SUBJECT = /^[^\s*>]+$/;

export const topFields = {
  name: text('Name of the pipeline: in events, derived message ids and dead letters.', NAME, NAME_SHAPE),
  decode: call<unknown>(
    'Turns the body into `data`. A throw dead-letters the message at once: the same bytes fail again.',
  ),
  onDeadLetter: maybeCall<unknown>(
    'Awaited when the record of a message is stored, before the message is acknowledged. A throw, or more than `timeout.handlerMs`: record and call are repeated later, so it may be called more than once.',
  ),
  drainTimeoutMs: numberOr(30_000, 'How long a drain waits for running handlers before it aborts them.', { min: 0 }),
} as const;

export const sourceFields = {
  stream: text('Stream to read.', JETSTREAM_NAME, JETSTREAM_SHAPE),
  consumer: text('Durable pull consumer on it; it must exist.', JETSTREAM_NAME, JETSTREAM_SHAPE),
  weight: numberOr(1, 'Share of the slots when several sources have work; every source gets some.', {
    min: 1,
    max: 1000,
  }),
  partitions: maybeNumber(
    'Order per key across replicas: the stream is divided into so many parts by its subject transform, each with a consumer `<consumer>-<number>` that one replica at a time reads. Needs nats-server 2.11. Absent: one consumer, shared by all replicas.',
    { min: 1, max: 256 },
  ),
  partitionBy: textOr(
    '>',
    'With `partitions`: the subjects of the stream, whose `*` are the key; without a `*` the whole subject is.',
    /^[^\s.]+(\.[^\s.]+)*$/,
    'a subject, with `*` for what makes the key',
  ),
  reserve: numberOr(
    0,
    'Slots besides `flow.concurrency`: when all of those are taken, so many messages of this source run all the same.',
    { min: 0, max: 65_536 },
  ),
  body: choiceOr(
    'full',
    '`full`: messages with their bodies. `none`: a consumer with `headers_only`; `decode` gets no bytes.',
    ['full', 'none'],
  ),
} as const;

export const flowFields = {
  concurrency: numberOr(8, 'Handlers running at once: the number of slots.', { min: 1, max: 65_536 }),
  prefetch: maybeNumber(
    'Messages held beyond the slots. Absent: adaptive, 0 for slow handlers, growing for fast ones, never more than finish within a third of ack_wait.',
    { min: 0, max: 65_536 },
  ),
  orderBy: maybeCall<unknown>(
    'Messages with an equal key run one after the other, in stream order; `undefined` means no order.',
  ),
  expiresMs: numberOr(2000, 'Life of one pull request. A drain waits at most this long for open pulls.', {
    min: 250,
    max: 60_000,
  }),
  idleHeartbeatMs: numberOr(
    1000,
    'The server speaks at least this often while a pull is open; two missed heartbeats are a stall.',
    {
      min: 100,
      max: 30_000,
    },
  ),
} as const;

export const rateFields = {
  limit: number('Handler starts allowed per `perMs`.', { min: 0.001, integer: false }),
  perMs: number('The period of `limit`.', { min: 1 }),
  burst: maybeNumber('Starts that may be saved up; `limit` (at least 1) when absent.', { min: 1, integer: false }),
} as const;

export const limitsFields = {
  key: maybeCall<unknown>(
    'Whose message it is. Keys take turns, so that one with a backlog does not hold up the others; `undefined`: under no limit but `limits.all`.',
  ),
  name: maybeText('What is shared under one name is one limit. Absent: the name of the pipeline.', NAME, NAME_SHAPE),
  leaseMs: numberOr(
    15_000,
    'With `limits.shared`: how long a replica that died keeps what it held. One that cannot reach the store starts nothing after three quarters of it.',
    { min: 500, max: 600_000 },
  ),
} as const;

export const limitFields = {
  perSecond: maybeNumber('Handler starts a second.', { min: 0.001, integer: false }),
  burst: maybeNumber('Starts that may be saved up; `perSecond` (at least 1) when absent.', { min: 1, integer: false }),
  concurrency: maybeNumber('Handlers that run at once.', { min: 1 }),
} as const;

export const ackFields = {
  waitMs: maybeNumber(
    'The ack_wait the consumer is expected to have; `start` refuses another. Absent: read from the consumer.',
    {
      min: 100,
    },
  ),
  heartbeatMs: maybeNumber(
    'How often `+WPI` is sent for everything held. Absent: a third of ack_wait, which is also the most allowed.',
    {
      min: 10,
    },
  ),
  confirm: choiceOr(
    'flush',
    "`flush`: acks are kept until a round trip after them and sent again after a reconnect. `each`: every ack waits for the server's answer. `none`: sent and forgotten.",
    ['flush', 'each', 'none'],
  ),
} as const;

export const timeoutFields = {
  handlerMs: numberOr(60_000, 'A handler is aborted after this; heartbeats for it end too.', {
    min: 1,
    max: MAX_TIMER_MS,
  }),
  graceMs: numberOr(
    1000,
    'How long an aborted handler may take to return. After that its message is settled without it, and its slot stays taken until it returns.',
    {
      min: 0,
      max: MAX_TIMER_MS,
    },
  ),
} as const;

export const retryFields = {
  maxAttempts: numberOr(5, 'Failed runs of the handler before the dead letters.', { min: 1, max: 1_000_000 }),
  maxUnknownDeliveries: numberOr(
    100,
    'Without an attempt store: deliveries that ended without being settled and not in this process, before a message counts as a crash loop and is dead-lettered unrun. Those that came sooner after each other than crashes are noticed do not make one.',
    { min: 1 },
  ),
  baseMs: numberOr(1000, 'Delay after the first failure.', { min: 1 }),
  maxMs: numberOr(60_000, 'Longest delay of the policy.', { min: 1, max: MAX_TIMER_MS }),
  maxAfterMs: numberOr(86_400_000, 'Longest delay that a handler may ask for.', { min: 1, max: MAX_TIMER_MS }),
  factor: numberOr(2, 'Growth of the delay per attempt.', { min: 1, max: 10, integer: false }),
  jitter: choiceOr('full', '`full`: anywhere in 0..delay; `equal`: delay/2..delay; `none`.', ['full', 'equal', 'none']),
  retryable: maybeCall<(error: unknown) => boolean>('False sends the failure to the dead letters without a retry.'),
} as const;

export const deadLetterFields = {
  subject: maybeText(
    'Subject of the records. Absent: `dlq.<stream>.<consumer>`.',
    SUBJECT,
    'a subject without wildcards',
  ),
  maxPayloadBytes: numberOr(1_000_000, 'A longer body is cut in the record, with its full size in a header.', {
    min: 0,
  }),
  redact: maybeCall<(header: string) => boolean>('True keeps the header of that name out of the record.'),
} as const;

export const idempotencyFields = {
  key: call<unknown>('What makes two messages the same piece of work.'),
  ttlMs: numberOr(86_400_000, 'How long a processed key is remembered.', { min: 1 }),
  claimMs: maybeNumber('How long a claim lives without renewal. Absent: ack_wait.', { min: 100 }),
  timeoutMs: numberOr(5000, 'How long a call to the store may take.', { min: 1, max: MAX_TIMER_MS }),
} as const;

export const attemptFields = {
  maxCrashes: numberOr(
    5,
    'Runs that began and never ended, because the process died, before the message is dead-lettered as a crash loop.',
    { min: 1 },
  ),
  timeoutMs: numberOr(5000, 'How long a call to the store may take.', { min: 1, max: MAX_TIMER_MS }),
} as const;

export const delayedFields = {
  subject: textOr(
    'delayed',
    'Subject prefix of the stream that messages wait in: see `ensureDelayedStream`.',
    SUBJECT,
    'a subject without wildcards',
  ),
} as const;

export const breakerFields = {
  minSamples: numberOr(20, 'Results looked at before the ratio counts.', { min: 1, max: 10_000 }),
  failureRatio: numberOr(0.5, 'Share of failures in the last `minSamples` results that trips.', {
    min: 0.01,
    max: 1,
    integer: false,
  }),
  coolDownMs: numberOr(10_000, 'Pause before the probe with one message.', { min: 1 }),
  counts: maybeCall<(error: unknown) => boolean>(
    'False: this failure says nothing about the dependency and is not counted.',
  ),
} as const;

export const batchFields = {
  maxSize: number('Messages per batch at most.', { min: 1, max: 65_536 }),
  maxBytes: maybeNumber('Body bytes per batch at most; a single larger message travels alone.', { min: 1 }),
  maxWaitMs: number('A batch waits this long at most after its first message.', { min: 0 }),
  by: maybeCall<unknown>('Messages with different keys never share a batch.'),
} as const;
