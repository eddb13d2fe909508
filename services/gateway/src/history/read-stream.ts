import type { Bus } from '@sluice/messaging';
import type { StoredMessage } from './packed-messages.ts';
import type { ProjectedStream, StreamIdentity } from './read-model.ts';

/** Messages of one batch. More make a transaction that questions wait for. */
const BATCH = 500;
/** A first event of a job can carry 256 KiB of image. */
const BATCH_BYTES = 4 * 2 ** 20;

const NOT_FOUND = 404;

/** Messages in order, and how many follow them. */
export interface StreamPage {
  readonly messages: readonly StoredMessage[];
  readonly behind: number;
}

/**
 * The next messages from a sequence on. Asked for when the ones before are stored: a slow disk is waited for, and holds
 * nothing in memory. Nothing on the broker has to be kept up for it, as a consumer has.
 */
export async function readStream(bus: Bus, stream: ProjectedStream, from: number): Promise<StreamPage> {
  const found = await bus.jsm.direct.getBatch(stream, { seq: from, batch: BATCH, max_bytes: BATCH_BYTES });
  const messages: StoredMessage[] = [];
  let behind = 0;
  try {
    for await (const message of found) {
      messages.push({ sequence: message.seq, storedMs: message.time.getTime(), data: message.data });
      behind = message.pending;
    }
  } catch (error) {
    // How the server says that nothing is there from this sequence on.
    if ((error as { code?: unknown }).code !== NOT_FOUND) throw error;
  }
  return { messages, behind };
}

/** What the stream is now. */
export interface StreamLook extends StreamIdentity {
  /** The last message that is there, which need not be the last one there ever was. */
  readonly lastMessage: number;
  readonly firstSequence: number;
  /** The broker's clock. */
  readonly brokerMs: number;
}

export async function lookAtStream(bus: Bus, stream: ProjectedStream, subjects: string): Promise<StreamLook> {
  const { created, state, ts } = await bus.jsm.streams.info(stream);
  const last = state.messages === 0 ? null : await bus.jsm.streams.getMessage(stream, { last_by_subj: subjects });
  return {
    created,
    lastSequence: state.last_seq,
    lastMessage: last?.seq ?? 0,
    firstSequence: state.first_seq,
    brokerMs: ts === undefined ? Infinity : Date.parse(ts),
  };
}
