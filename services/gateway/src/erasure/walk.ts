import { jetstream, type JsMsg, type StoredMsg } from '@nats-io/jetstream';
import type { Bus } from '@sluice/messaging';

/** A message that an erasure looks at. */
export interface Walked {
  readonly subject: string;
  readonly sequence: number;
  readonly data: Uint8Array;
  /** First value of a header; empty when there is none, or the block cannot be parsed. */
  readonly header: (name: string) => string;
  /** Every value of every header, a line each. */
  readonly headerText: string;
}

const BATCH = 200;
const BATCH_EXPIRES_MS = 2_000;

/**
 * Every message of a stream from a sequence on, up to those that were there when it began: of a busy stream there is no
 * end. Ends early when the signal is aborted.
 *
 * @param isQueue work queues take no second consumer, so their messages are read one by one.
 */
export async function* walk(
  bus: Bus,
  { stream, isQueue, from }: { readonly stream: string; readonly isQueue: boolean; readonly from: number },
  signal: AbortSignal,
): AsyncGenerator<Walked> {
  const { last_seq: last } = (await bus.jsm.streams.info(stream)).state;
  for await (const message of isQueue ? oneByOne(bus, stream, from) : inBatches(bus, stream, from, last)) {
    if (signal.aborted || message.seq > last) return;
    yield walked(message);
  }
}

async function* oneByOne(bus: Bus, stream: string, from: number): AsyncGenerator<StoredMsg> {
  for (let seq = Math.max(1, from); ;) {
    const next = { seq, next_by_subj: '>' };
    const found = await bus.jsm.streams.getMessage(stream, next).catch((error: unknown) => {
      if ((error as { status?: unknown; code?: unknown }).status === 404) return null;
      throw error;
    });
    if (found === null) return;
    yield found;
    seq = found.seq + 1;
  }
}

async function* inBatches(bus: Bus, stream: string, from: number, last: number): AsyncGenerator<JsMsg> {
  if (from > last) return;
  const consumer = await jetstream(bus.nc).consumers.get(stream, { opt_start_seq: Math.max(1, from) });
  try {
    for (;;) {
      let pending = 0;
      let seen = 0;
      for await (const message of await consumer.fetch({ max_messages: BATCH, expires: BATCH_EXPIRES_MS })) {
        seen += 1;
        pending = message.info.pending;
        yield message;
        if (pending === 0) return;
      }
      if (seen === 0 && pending === 0 && (await consumer.info()).num_pending === 0) return;
    }
  } finally {
    await consumer.delete().catch(() => undefined); // it ends by itself after some minutes
  }
}

function walked(message: JsMsg | StoredMsg): Walked {
  const headers = headersOf(message);
  return {
    subject: message.subject,
    sequence: message.seq,
    data: message.data,
    header: (name) => headers?.get(name) ?? '',
    headerText: (headers?.keys() ?? []).flatMap((name) => headers?.values(name) ?? []).join('\n'),
  };
}

/** The client parses a header block at the first access, and refuses one that is malformed. */
function headersOf(message: JsMsg | StoredMsg): JsMsg['headers'] {
  try {
    return 'info' in message ? message.headers : message.header;
  } catch {
    return undefined;
  }
}
