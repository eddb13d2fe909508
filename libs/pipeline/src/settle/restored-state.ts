import { RequestError } from '../errors.ts';
import { API_ERROR, call, streamInfo } from '../nats/jetstream-api.ts';
import type { StoredMessage } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';

/** A message this process holds, or has settled without proof. */
export interface HeldMessage {
  readonly sequence: number;
  readonly storedAtMs: number;
}

const AT_ONCE = 16;
/** Messages looked at before the rest is taken on trust: nearly always the first one answers. */
const MOST_READ = 256;
const TIMEOUT_MS = 2000;

/**
 * The first sequence at which the stream no longer has what is held: a broker that was restored from older state gives
 * the sequences after it to other messages, and an ack would remove one of those unhandled. `Infinity` when everything is
 * as it was.
 *
 * State that has one message has all before it, so the newest that is still there ends the search: one read at most
 * reconnects. A message that is gone was settled, and proves nothing. Rejects when the server does not answer.
 */
export async function firstReplaced(port: NatsPort, stream: string, held: readonly HeldMessage[]): Promise<number> {
  if (held.length === 0) return Number.POSITIVE_INFINITY;
  const { state } = await streamInfo(port, stream, TIMEOUT_MS);
  const newestFirst = held.toSorted((a, b) => b.sequence - a.sequence);
  // A sequence that is not given out yet: the server would remember the ack and drop the message that gets it.
  let from = (newestFirst[0]?.sequence ?? 0) > state.last_seq ? state.last_seq + 1 : Number.POSITIVE_INFINITY;
  const known = newestFirst.filter(({ sequence }) => sequence < from).slice(0, MOST_READ);
  for (let at = 0; at < known.length;) {
    // One at first, as that one nearly always answers.
    const some = known.slice(at, at + (at === 0 ? 1 : AT_ONCE));
    at += some.length;
    const found = await Promise.all(some.map(({ sequence }) => storedAt(port, stream, sequence)));
    for (const [index, { sequence, storedAtMs }] of some.entries()) {
      const now = found[index];
      if (now === undefined) continue;
      if (now === storedAtMs) return from;
      from = sequence;
    }
  }
  return from;
}

/** When the message at the sequence was stored; undefined when there is none. */
async function storedAt(port: NatsPort, stream: string, sequence: number): Promise<number | undefined> {
  try {
    const path = `STREAM.MSG.GET.${stream}`;
    const reply = await call<{ readonly message: StoredMessage }>(port, path, { seq: sequence }, TIMEOUT_MS);
    return Date.parse(reply.message.time);
  } catch (error) {
    if (error instanceof RequestError && error.apiCode === API_ERROR.messageNotFound) return undefined;
    throw error;
  }
}
