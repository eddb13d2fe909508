// The fastest honest loop without an engine: pulls over core NATS, a window of messages, acks written once per turn of the
// event loop. No timeout, no heartbeat, no retry, nothing kept: what the engine is measured against.
import { createInbox, type Msg, type NatsConnection } from '@nats-io/transport-node';

const ACK = new TextEncoder().encode('+ACK');
const EXPIRES_MS = 30_000;

export interface RawPull {
  readonly stream: string;
  readonly consumer: string;
  /** Messages asked for and in hand together. */
  readonly window: number;
  /** Returns when the message is done; it is acknowledged then. */
  readonly onMessage: (message: Msg) => Promise<void>;
  /** Called after the acks of one turn are handed to the client. */
  readonly onAcked: (count: number) => void;
}

export function rawPull(
  connection: NatsConnection,
  { stream, consumer, window, onMessage, onAcked }: RawPull,
): () => void {
  const inbox = createInbox();
  let asked = 0;
  let busy = 0;
  let replies: string[] = [];
  let scheduled = false;
  let stopped = false;
  const ask = (): void => {
    const free = window - busy - asked;
    if (free <= 0 || (asked > 0 && free < window / 4)) return;
    asked += free;
    connection.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
      `{"batch":${free},"expires":${EXPIRES_MS}000000}`,
      {
        reply: inbox,
      },
    );
  };
  const turn = (): void => {
    scheduled = false;
    const batch = replies;
    replies = [];
    for (const reply of batch) connection.publish(reply, ACK);
    onAcked(batch.length);
    if (!stopped) ask();
  };
  const done = (reply: string): void => {
    busy--;
    replies.push(reply);
    if (scheduled) return;
    scheduled = true;
    setImmediate(turn);
  };
  const handle = async (message: Msg, reply: string): Promise<void> => {
    await onMessage(message);
    done(reply);
  };
  const subscription = connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null || message.reply === undefined || message.data.length === 0) return;
      asked--;
      busy++;
      void handle(message, message.reply);
    },
  });
  ask();
  return () => {
    stopped = true;
    subscription.unsubscribe();
  };
}
