import {
  DeliverPolicy,
  jetstream,
  jetstreamManager,
  type ConsumerMessages,
  type JsMsg,
  type OrderedConsumerOptions,
  type Consumer,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { apiErrorCode, JS_ERROR } from './api-error.ts';

/** Where a follower begins. `last-per-subject` tells the newest message of every subject, as a bucket is read. */
export type StartAt = 'all' | 'last-per-subject' | 'new' | { readonly sequence: number } | { readonly since: Date };

export interface FollowOptions {
  readonly stream: string;
  /** Subjects of the stream to see; all of them when absent. */
  readonly subjects?: readonly string[];
  readonly start: StartAt;
  /** What it throws goes to `onError` and ends nothing. */
  readonly onMessage: (message: JsMsg) => void;
  /**
   * Called when everything is told from the beginning (again): at the start of `last-per-subject`, and for any start when
   * the stream was deleted and made again or restored from an older state. Sequences seen before mean nothing then.
   */
  readonly onRestart?: () => void;
  /** Called when everything that was there at the start, or at a restart, has been told. */
  readonly onCaughtUp?: () => void;
  readonly onError?: (error: unknown, what: string) => void;
  /** True begins also while the stream does not exist, and follows it once it does. */
  readonly mayBeMissing?: boolean;
  /** How often the stream is compared with what was heard of it. */
  readonly checkEveryMs?: number;
}

/** A follower at work. It never ends by itself. */
export interface Follower {
  /** Why nothing can be heard at the moment; undefined while it follows. */
  trouble(): string | undefined;
  stop(): Promise<void>;
}

const CHECK_EVERY_MS = 5_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

/** What is known of the stream that is followed. */
interface Position {
  /** When the stream was made: another time is another stream. */
  readonly created: string;
  /** The last sequence that was told, or known not to concern the follower. */
  sequence: number;
}

/**
 * Follows a stream in order and does not go deaf: an ordered consumer of nats.js, watched from outside. It is opened anew
 * where it stood when it closes, when the connection comes back, when the stream was deleted and made again, and when the
 * stream has something to tell and nothing comes. The ordered consumer alone does none of that for a stream that was made
 * again: it asks for the sequence after the last one it saw, which the new stream may not reach for weeks.
 *
 * Resolves when it follows for the first time; rejects when the stream does not exist, unless it may be missing.
 */
export async function followStream(nc: NatsConnection, options: FollowOptions): Promise<Follower> {
  const { stream, subjects, start, onMessage, onError = () => undefined } = options;
  const js = jetstream(nc);
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  let position: Position | undefined;
  let open: { readonly consumer: Consumer; readonly messages: ConsumerMessages } | undefined;
  let trouble: string | undefined;
  let stopped = false;
  /** Messages of an earlier opening are not heard. */
  let epoch = 0;
  let heard = 0;
  let retry: NodeJS.Timeout | undefined;
  let failures = 0;

  const guarded = (what: string, run: (() => void) | undefined): void => {
    try {
      run?.();
    } catch (error) {
      onError(error, what);
    }
  };

  /** Whether the stream is another one than the one that was followed, or an older state of it. */
  const isOther = (created: string, lastSequence: number): boolean =>
    position === undefined
      ? beforeStart(start, lastSequence) > lastSequence
      : position.created !== created || lastSequence < position.sequence;

  const openOnce = async (): Promise<void> => {
    const mine = ++epoch;
    const { created, state } = await jsm.streams.info(stream);
    const other = isOther(created, state.last_seq);
    if (mine !== epoch || stopped) return;
    // What a new stream holds is new to every follower, wherever it started.
    if (other || position === undefined)
      position = { created, sequence: other ? 0 : beforeStart(start, state.last_seq) };
    const consumer = await js.consumers.get(stream, {
      ...(subjects === undefined ? {} : { filter_subjects: [...subjects] }),
      ...deliveryOf(start, position.sequence, other),
    });
    const { num_pending } = await consumer.info(true);
    if (mine !== epoch || stopped) return void consumer.delete().catch(() => undefined);
    if (other || start === 'last-per-subject') guarded('restart', options.onRestart);
    const mark = position;
    let left = num_pending;
    let caughtUp = false;
    const told = (): void => {
      if (caughtUp) return;
      caughtUp = true;
      guarded('caught up', options.onCaughtUp);
    };
    const messages = await consumer.consume({
      max_messages: 500,
      // A stalled leader shows after two missed heartbeats instead of after the default half minute.
      idle_heartbeat: 1_000,
      expires: 5_000,
      abort_on_missing_resource: true,
      callback(message) {
        if (mine !== epoch) return;
        heard++;
        mark.sequence = Math.max(mark.sequence, message.seq);
        guarded('message', () => onMessage(message));
        // Counted too: what expires before it is told keeps the server's own count from reaching zero.
        left--;
        if (left <= 0 || message.info.pending === 0) told();
      },
    });
    open = { consumer, messages };
    failures = 0;
    trouble = undefined;
    if (num_pending === 0) told();
    const reopen = (): void => {
      if (mine === epoch) void openAgain();
    };
    messages.closed().then(reopen, reopen);
  };

  const shut = async (): Promise<void> => {
    const before = open;
    open = undefined;
    epoch++;
    if (before === undefined) return;
    await before.messages.close().catch(() => undefined);
    // Left alone, the server would keep it for five minutes. Without a server there is nothing to take away.
    before.consumer.delete().catch(() => undefined);
  };

  const openFailed = (error: unknown): void => {
    trouble = troubleOf(stream, error);
    if (failures++ === 0) onError(error, `following ${stream}`);
    const restMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
    retry = setTimeout(() => void openAgain(), restMs);
    retry.unref();
  };

  let opening: Promise<void> | undefined;
  const openAgain = (): Promise<void> =>
    (opening ??= (async () => {
      clearTimeout(retry);
      await shut();
      if (stopped || nc.isClosed()) return;
      try {
        await openOnce();
      } catch (error) {
        openFailed(error);
      }
    })().finally(() => {
      opening = undefined;
    }));

  let suspected: number | undefined;
  const check = async (): Promise<void> => {
    if (open === undefined || position === undefined || opening !== undefined) return;
    const before = heard;
    const { created, state } = await jsm.streams.info(stream);
    if (isOther(created, state.last_seq)) return openAgain();
    if (state.last_seq <= position.sequence || heard !== before) {
      suspected = undefined;
      return;
    }
    // The stream went on without a word to us: other subjects, or a consumer that is stuck.
    const { num_pending } = await open.consumer.info();
    if (num_pending === 0) position.sequence = Math.max(position.sequence, heard === before ? state.last_seq : 0);
    else if (suspected === heard) return openAgain();
    suspected = num_pending === 0 ? undefined : heard;
  };
  const checkAgain = (): void => {
    check().catch((error: unknown) => {
      const code = apiErrorCode(error);
      // Anything else is a broker that does not answer now: the next check asks again.
      if (code === JS_ERROR.streamNotFound || code === JS_ERROR.consumerNotFound) void openAgain();
    });
  };
  const timer = setInterval(checkAgain, options.checkEveryMs ?? CHECK_EVERY_MS);
  timer.unref();
  const watchConnection = async (): Promise<void> => {
    for await (const { type } of nc.status()) {
      if (stopped) return;
      if (type === 'reconnect') void openAgain();
    }
  };

  await openOnce().catch((error: unknown) => {
    if (options.mayBeMissing === true && apiErrorCode(error) === JS_ERROR.streamNotFound) return openFailed(error);
    clearInterval(timer);
    throw error;
  });
  void watchConnection().catch(() => undefined);

  return {
    trouble: () => trouble ?? (open === undefined ? `not following ${stream}` : undefined),
    async stop() {
      stopped = true;
      clearInterval(timer);
      clearTimeout(retry);
      await shut();
    },
  };
}

/** The sequence before the first one that is wanted; 0 where it is not known. */
function beforeStart(start: StartAt, lastSequence: number): number {
  if (start === 'new') return lastSequence;
  return typeof start === 'object' && 'sequence' in start ? Math.max(0, start.sequence - 1) : 0;
}

function deliveryOf(start: StartAt, after: number, other: boolean): Partial<OrderedConsumerOptions> {
  if (start === 'last-per-subject') return { deliver_policy: DeliverPolicy.LastPerSubject };
  if (after > 0) return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: after + 1 };
  if (!other && typeof start === 'object' && 'since' in start) {
    return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: start.since.toISOString() };
  }
  return { deliver_policy: DeliverPolicy.All };
}

function troubleOf(stream: string, error: unknown): string {
  if (apiErrorCode(error) === JS_ERROR.streamNotFound) return `stream ${stream} does not exist`;
  return `stream ${stream} cannot be followed: ${error instanceof Error ? error.message : String(error)}`;
}
