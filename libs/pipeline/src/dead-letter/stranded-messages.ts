import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { deadLetterRecord } from './record.ts';
import { Delivery } from '../process/delivery.ts';
import { consumerInfo, streamInfo } from '../nats/jetstream-api.ts';
import { silentLogger } from '../log.ts';
import type { Logger } from '../log.ts';
import type { NatsPort } from '../nats/port.ts';
import { deleteMessage, readStream } from '../nats/stored-message.ts';
import type { Read } from '../nats/stored-message.ts';
import { errorMessage } from '../process/describe-error.ts';

export interface StrandedMessageScannerOptions {
  readonly nats: NatsPort;
  readonly stream: string;
  readonly consumer: string;
  /** Name that goes into the records. */
  readonly pipeline: string;
  /** `dlq.<stream>.<consumer>` when absent. */
  readonly subject?: string;
  /** How often the whole stream is reconciled; 10 minutes when absent. */
  readonly scanEveryMs?: number;
  readonly onMoved?: (sequence: number, found: 'advisory' | 'scan') => void;
  readonly log?: Logger;
  readonly clock?: Clock;
}

export interface StrandedMessageScanner {
  /** Reconciles now; resolves with how many messages were moved. */
  scan(): Promise<number>;
  stop(): void;
}

const SCAN_EVERY_MS = 600_000;
const MOST_PER_SCAN = 1000;
const MAX_PAYLOAD_BYTES = 1_000_000;
const CONFIRM_AFTER_MS = 2000;

/**
 * Finds work-queue messages the engine will never see and moves them to the dead letters: a consumer with a
 * `max_deliver` gives up on a message and tells only subscribers of an advisory, and the message stays in the
 * stream for ever, invisible to its lag. Listens for the server's advisories (which are not stored and can be missed)
 * and reconciles the stream now and then. The record has the id the engine would have given it, so a message found
 * twice, or by both, is one dead letter; it is removed only after that is stored.
 *
 * On streams that keep their messages (limits, interest) the advisories alone count, and nothing is removed: there a
 * handled message cannot be told from a stranded one.
 */
export function startStrandedMessageScanner(options: StrandedMessageScannerOptions): StrandedMessageScanner {
  const { nats, stream, consumer } = options;
  const clock = options.clock ?? systemClock;
  const log = options.log ?? silentLogger;
  const warn = (error: unknown): void =>
    log.warn({ stream, consumer, error: errorMessage(error) }, 'the scan for stranded messages failed, it tries again');

  const move = async (read: Read, deliveries: number, found: 'advisory' | 'scan'): Promise<void> => {
    const reply = `$JS.ACK.${stream}.${consumer}.${deliveries}.${read.sequence}.0.${read.storedAt.getTime()}000000.0`;
    const meta = { deliveries, sequence: read.sequence, pending: 0 };
    const from = { index: 0, stream, consumer, partition: undefined, maxAttempts: deliveries, ackPrefix: '' };
    const delivery = new Delivery<unknown>(read.message, reply, meta, from, clock.now());
    const failure = { why: 'stranded', reason: 'the server gave up on it (max_deliver)', error: undefined } as const;
    const policy = { subject: options.subject, maxPayloadBytes: MAX_PAYLOAD_BYTES, redact: undefined };
    const record = deadLetterRecord(delivery, failure, options.pipeline, policy, new Date(clock.wall()));
    await nats.publish(record.subject, record.data, { id: record.id, headers: record.headers });
    // A stream that keeps its messages, or has other consumers that want them, loses none.
    if (await isWorkQueue()) await deleteMessage(nats, stream, read.sequence);
    log.warn({ stream, consumer, sequence: read.sequence, found }, 'stranded message dead-lettered');
    options.onMoved?.(read.sequence, found);
  };

  let workQueue: Promise<boolean> | undefined;
  const isWorkQueue = (): Promise<boolean> =>
    (workQueue ??= streamInfo(nats, stream).then(
      ({ config }) => config.retention === 'workqueue',
      (error: unknown) => {
        workQueue = undefined;
        throw error;
      },
    ));

  const rescue = async (sequence: number, deliveries: number): Promise<void> => {
    for await (const read of readStream(nats, stream, { subject: '>', from: sequence, to: sequence })) {
      await move(read, deliveries, 'advisory');
    }
  };
  const decoder = new TextDecoder();
  const advisories = nats.subscribe(`$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${stream}.${consumer}`, ({ data }) => {
    const advisory = JSON.parse(decoder.decode(data)) as { readonly stream_seq?: number; readonly deliveries?: number };
    if (advisory.stream_seq !== undefined) rescue(advisory.stream_seq, advisory.deliveries ?? 0).catch(warn);
  });

  /** What is delivered and neither pending nor gone. */
  const candidates = async (): Promise<{ readonly deliveries: number; readonly found: Map<number, Read> }> => {
    const [info, { state }] = await Promise.all([consumerInfo(nats, stream, consumer), streamInfo(nats, stream)]);
    // Behind the ack floor nothing can be pending. With nothing pending at all, neither can anything delivered.
    const to = info.num_ack_pending === 0 ? info.delivered.stream_seq : info.ack_floor.stream_seq;
    const found = new Map<number, Read>();
    for (const subject of filtersOf(info.config)) {
      for await (const read of readStream(nats, stream, { subject, from: state.first_seq, to })) {
        if (found.size >= MOST_PER_SCAN) break;
        found.set(read.sequence, read);
      }
    }
    return { deliveries: Math.max(1, info.config.max_deliver ?? 1), found };
  };
  const scan = async (): Promise<number> => {
    // Elsewhere a message that was handled stays, and looks like one that was given up.
    if (!(await isWorkQueue())) return 0;
    const first = await candidates();
    if (first.found.size === 0) return 0;
    // The leaders of the stream and of the consumer can be two servers: what was acknowledged is gone a moment later.
    await new Promise<void>((resolve) => {
      clock.after(CONFIRM_AFTER_MS, resolve);
    });
    const second = await candidates();
    let moved = 0;
    for (const [sequence, read] of second.found) {
      if (!first.found.has(sequence)) continue;
      await move(read, second.deliveries, 'scan');
      moved++;
    }
    return moved;
  };
  let scanning = false;
  const timer = clock.every(options.scanEveryMs ?? SCAN_EVERY_MS, () => {
    if (scanning) return;
    scanning = true;
    scan()
      .catch(warn)
      .finally(() => {
        scanning = false;
      });
  });
  return {
    scan,
    stop() {
      timer.cancel();
      advisories.unsubscribe();
    },
  };
}

function filtersOf(config: {
  readonly filter_subject?: string;
  readonly filter_subjects?: readonly string[];
}): readonly string[] {
  if (config.filter_subjects !== undefined && config.filter_subjects.length > 0) return config.filter_subjects;
  return [config.filter_subject === undefined || config.filter_subject === '' ? '>' : config.filter_subject];
}
