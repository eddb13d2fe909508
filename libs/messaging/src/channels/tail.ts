import { DeliverPolicy, jetstream, type JsMsg } from '@nats-io/jetstream';
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Channel } from '@sluice/contracts';

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
 * Follows a channel in order, for readers that keep nothing on the server: live views and projections. An ordered
 * ephemeral consumer that re-creates itself where it stood when a gap or a reconnect shows. What cannot be decoded is
 * given to `onBroken` and skipped.
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
    /** Subjects instead of the channel's whole template. */
    readonly subjects?: readonly string[];
    /** False passes a message over undecoded: a live view decodes what somebody looks at. */
    readonly wanted?: (subject: string) => boolean;
  },
): Promise<() => Promise<void>> {
  const { from, onMessage, onBroken, wanted } = options;
  const consumer = await jetstream(nc).consumers.get(channel.stream, {
    filter_subjects: [...(options.subjects ?? [channel.template.replace(/\{\w+\}/g, '*')])],
    ...(from === 'new'
      ? { deliver_policy: DeliverPolicy.New }
      : typeof from === 'number'
        ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, from) }
        : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: from.toISOString() }),
  });
  const messages = await consumer.consume({
    max_messages: 500,
    // A stalled leader shows after two missed beats instead of after the default half minute.
    idle_heartbeat: 1_000,
    expires: 5_000,
    callback(message: JsMsg) {
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
  });
  return async () => {
    await messages.close();
    // Left alone, the server would keep it for five minutes. Without a server there is nothing to take away.
    consumer.delete().catch(() => undefined);
  };
}
