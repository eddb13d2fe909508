import type { ConsumerInfo } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';

/** More than so many positions are not tried one by one. */
const MOST_TRIED = 20_000;

/**
 * Sends back what was delivered to a reader that is gone, so that it comes at once and not after ack_wait. The server does
 * not say which messages those are; it ignores a nak for any other, so every position between the first unsettled and
 * the last delivered is tried. False: there are too many.
 */
export function sendBack(
  port: NatsPort,
  from: {
    readonly stream: string;
    readonly consumer: string;
    readonly info: ConsumerInfo;
    readonly isHeld: (sequence: number) => boolean;
    readonly wallMs: number;
  },
): boolean {
  const { stream, consumer, info, isHeld, wallMs } = from;
  const first = info.ack_floor.stream_seq + 1;
  const last = info.delivered.stream_seq;
  if (last - first >= MOST_TRIED) return false;
  // The consumer's own sequence must be one that it has given out; which one does not matter.
  const delivered = info.delivered.consumer_seq;
  for (let sequence = first; sequence <= last; sequence++) {
    if (isHeld(sequence)) continue;
    port.send(`$JS.ACK.${stream}.${consumer}.1.${sequence}.${delivered}.${Math.round(wallMs)}000000.0`, '-NAK');
  }
  return true;
}
