import type { JsMsg } from '@nats-io/jetstream';
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Channel } from '@sluice/contracts';
import { followStream, type StartAt } from '../nats/follow-stream.ts';

/** A message seen by a tail. */
export interface Tailed<T> {
  readonly data: T;
  readonly subject: string;
  readonly sequence: number;
  readonly storedAt: Date;
  /** How many messages of the filter still follow: 0 means the tail has caught up. */
  readonly behind: number;
}

/**
 * Follows a channel in order, for readers that keep nothing on the server: live views and projections. What cannot be
 * decoded is given to `onBroken` and skipped. A stream that was deleted and made again, or restored from an older state,
 * is followed from its beginning; `from` no longer counts.
 *
 * Returns a function that stops it.
 */
export async function tail<Desc extends DescMessage>(
  nc: NatsConnection,
  channel: Channel<Desc>,
  options: {
    /** `'new'` for what comes from now on, the first sequence wanted, or what was stored since a time. */
    readonly from: 'new' | number | Date;
    readonly onMessage: (message: Tailed<MessageShape<Desc>>) => void;
    readonly onBroken?: (sequence: number, error: unknown) => void;
    /** The stream is another one now: sequences start over. */
    readonly onRestart?: () => void;
    /** What a listener threw, and what keeps the stream from being followed. */
    readonly onError?: (error: unknown, what: string) => void;
    /** Subjects instead of the channel's whole template. */
    readonly subjects?: readonly string[];
    /** False passes a message over undecoded: a live view decodes what its viewer looks at. */
    readonly wanted?: (subject: string) => boolean;
    readonly checkEveryMs?: number;
  },
): Promise<() => Promise<void>> {
  const { from, onMessage, onBroken, onRestart, onError, wanted, checkEveryMs } = options;
  const follower = await followStream(nc, {
    stream: channel.stream,
    subjects: options.subjects ?? [channel.template.replace(/\{\w+\}/g, '*')],
    start: startOf(from),
    onMessage(message: JsMsg) {
      if (wanted?.(message.subject) === false) return;
      let data: MessageShape<Desc>;
      try {
        data = fromBinary(channel.schema, message.data);
      } catch (error) {
        onBroken?.(message.seq, error);
        return;
      }
      const { subject, seq, info, time } = message;
      onMessage({ data, subject, sequence: seq, storedAt: time, behind: info.pending });
    },
    ...(onRestart === undefined ? {} : { onRestart }),
    ...(onError === undefined ? {} : { onError }),
    ...(checkEveryMs === undefined ? {} : { checkEveryMs }),
  });
  return () => follower.stop();
}

function startOf(from: 'new' | number | Date): StartAt {
  if (from === 'new') return 'new';
  return typeof from === 'number' ? { sequence: Math.max(1, from) } : { since: from };
}
