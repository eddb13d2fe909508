import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { DEAD_LETTER } from './record.ts';
import { streamInfo } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import { deleteMessage, readStream } from '../nats/stored-message.ts';
import type { Read } from '../nats/stored-message.ts';
import { TokenBucket } from '../schedule/token-bucket.ts';

/** A record of the dead-letter stream. */
export interface DeadLetter {
  /** Its position in the dead-letter stream. */
  readonly sequence: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** `exhausted`, `permanent`, `decode`, ...: see `DeadLetterReason`. */
  readonly reason: string;
  readonly detail: string;
  readonly pipeline: string;
  /** Where the message came from. */
  readonly origin: {
    readonly stream: string;
    readonly consumer: string;
    readonly sequence: number;
    readonly subject: string;
  };
  readonly messageId: string;
  /** How often it has been replayed already. */
  readonly replays: number;
  /** False: the record holds only the beginning of the body. */
  readonly complete: boolean;
  readonly storedAt: Date;
}

export interface Redrive {
  /** The dead-letter stream. */
  readonly stream: string;
  /** Which records: a subject, wildcards allowed. */
  readonly subject: string;
  /**
   * Where they go: a subject that only a source of the failed pipeline reads. The original subject
   * would hand the message to every other consumer of the stream again.
   */
  readonly to: string | ((letter: DeadLetter) => string);
  readonly select?: (letter: DeadLetter) => boolean;
  /** Loop guard: a message replayed this often stays. 3 when absent. */
  readonly maxRedrives?: number;
  readonly ratePerSecond?: number;
  /** Only says what would happen. */
  readonly dryRun?: boolean;
  /** Keeps the records; by default a replayed one is removed, after its copy is stored. */
  readonly keep?: boolean;
  readonly signal?: AbortSignal;
  readonly onLetter?: (letter: DeadLetter, done: 'replayed' | 'skipped', reason: string | undefined) => void;
  readonly clock?: Clock;
}

export interface RedriveReport {
  readonly seen: number;
  readonly replayed: number;
  readonly skipped: readonly { readonly sequence: number; readonly reason: string }[];
}

const DEFAULT_MAX_REPLAYS = 3;
const DEFAULT_RATE = 100;

/** Reads dead letters in order; stops at the newest there is when it begins. */
export async function* readDeadLetters(
  port: NatsPort,
  options: { readonly stream: string; readonly subject: string; readonly from?: number },
): AsyncGenerator<DeadLetter, void, undefined> {
  const { state } = await streamInfo(port, options.stream);
  const range = { subject: options.subject, from: options.from ?? state.first_seq, to: state.last_seq };
  for await (const read of readStream(port, options.stream, range)) yield toDeadLetter(read);
}

/**
 * Sends dead letters on their way again: in order, at a bounded rate, each under a new message id (the old one would be
 * dropped by the stream's duplicate window) and with its replay count raised; for handlers and the idempotency store its
 * `id` stays what it was. A copy is stored before its record is
 * removed, so that stopping anywhere loses nothing.
 */
export async function redriveDeadLetters(port: NatsPort, replay: Redrive): Promise<RedriveReport> {
  const clock = replay.clock ?? systemClock;
  const bucket = new TokenBucket({ limit: replay.ratePerSecond ?? DEFAULT_RATE, perMs: 1000, burst: 1 }, clock.now());
  const skipped: { sequence: number; reason: string }[] = [];
  let seen = 0;
  let replayed = 0;
  for await (const letter of readDeadLetters(port, replay)) {
    if (replay.signal?.aborted === true) break;
    if (replay.select?.(letter) === false) continue;
    seen++;
    const obstacle = obstacleFor(letter, replay);
    if (obstacle !== undefined) {
      skipped.push({ sequence: letter.sequence, reason: obstacle });
      replay.onLetter?.(letter, 'skipped', obstacle);
      continue;
    }
    if (replay.dryRun !== true) {
      while (!bucket.take(clock.now())) await sleep(clock, bucket.waitMs(clock.now()));
      await sendAgain(port, letter, replay);
    }
    replayed++;
    replay.onLetter?.(letter, 'replayed', undefined);
  }
  return { seen, replayed, skipped };
}

function obstacleFor(letter: DeadLetter, { maxRedrives = DEFAULT_MAX_REPLAYS }: Redrive): string | undefined {
  if (letter.replays >= maxRedrives) return `replayed ${letter.replays} times already`;
  if (!letter.complete) return 'the record holds only a part of the body';
  if (letter.origin.stream === '') return 'not a record of this engine';
  return undefined;
}

async function sendAgain(port: NatsPort, letter: DeadLetter, replay: Redrive): Promise<void> {
  const own = new Set<string>(Object.values(DEAD_LETTER));
  const kept = [...letter.headers].filter(([name]) => !own.has(name) && !/^nats-/i.test(name));
  const count = letter.replays + 1;
  await port.publish(typeof replay.to === 'string' ? replay.to : replay.to(letter), letter.data, {
    id: `replay:${replay.stream}:${letter.sequence}:${count}`,
    headers: {
      ...Object.fromEntries(kept),
      [DEAD_LETTER.redrives]: String(count),
      ...(letter.messageId === '' ? {} : { [DEAD_LETTER.originalId]: letter.messageId }),
    },
  });
  if (replay.keep !== true) await deleteMessage(port, replay.stream, letter.sequence);
}

function toDeadLetter({ sequence, subject, storedAt, message }: Read): DeadLetter {
  const names = message.headers?.keys() ?? [];
  const headers = new Map(names.map((name) => [name, message.headers?.values(name) ?? []] as const));
  const text = (name: string): string => headers.get(name)?.[0] ?? '';
  return {
    sequence,
    subject,
    data: message.data,
    headers,
    reason: text(DEAD_LETTER.reason),
    detail: text(DEAD_LETTER.detail),
    pipeline: text(DEAD_LETTER.pipeline),
    origin: {
      stream: text(DEAD_LETTER.stream),
      consumer: text(DEAD_LETTER.consumer),
      sequence: Number(text(DEAD_LETTER.sequence)),
      subject: text(DEAD_LETTER.subject),
    },
    messageId: text(DEAD_LETTER.messageId),
    replays: Number(text(DEAD_LETTER.redrives)),
    complete: !headers.has(DEAD_LETTER.fullBytes),
    storedAt,
  };
}

const sleep = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(ms, resolve);
  });
