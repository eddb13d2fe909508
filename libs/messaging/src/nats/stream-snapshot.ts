import type { Msg, NatsConnection } from '@nats-io/transport-node';

/** What a snapshot is of, as the server says it: its settings and how far it goes. Given back unchanged at a restore. */
export interface StreamSnapshot {
  readonly config: Readonly<Record<string, unknown>>;
  readonly state: Readonly<Record<string, unknown>>;
}

/** The server would not make a snapshot of a stream or restore one; the message says why. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  readonly code = 'snapshot_failed';
}

const CHUNK_BYTES = 256 * 1024;
/** The server gives up 5 s after an ack that does not come; what is silent for longer than this has ended. */
const SILENT_MS = 30_000;
/** The server looks through every message before the first chunk, and indexes them after the last one. */
const WHOLE_STREAM_MS = 600_000;

interface ApiAnswer {
  readonly error?: { readonly description: string; readonly err_code: number };
  readonly deliver_subject?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly state?: Readonly<Record<string, unknown>>;
}

const jsonOf = (message: Msg): ApiAnswer => (message.data.length === 0 ? {} : message.json<ApiAnswer>());

function checked(what: string, answer: ApiAnswer): ApiAnswer {
  if (answer.error === undefined) return answer;
  throw new SnapshotError(`${what}: ${answer.error.description} (${answer.error.err_code})`);
}

/**
 * Reads a stream as the server stores it: every message with its sequence, time and headers, and every durable consumer
 * with what it has acknowledged. The stream goes on taking messages meanwhile; the snapshot is of one moment. The server verifies the
 * checksum of each message first.
 *
 * @param inbox makes a subject that this identity may read.
 * @param write takes the next piece; the one after it is asked for when it has resolved.
 * @throws {SnapshotError} when the server refuses, finds damage, or goes silent.
 */
export async function snapshotStream(
  { nc, inbox: newInbox }: { readonly nc: NatsConnection; readonly inbox: () => string },
  stream: string,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<StreamSnapshot> {
  const what = `the snapshot of ${stream}`;
  const inbox = newInbox();
  const chunks = nc.subscribe(inbox);
  let silent = false;
  const watch = setTimeout(() => {
    silent = true;
    chunks.unsubscribe();
  }, SILENT_MS).unref();
  try {
    const asked = JSON.stringify({ deliver_subject: inbox, chunk_size: CHUNK_BYTES, jsck: true });
    const first = await nc.request(`$JS.API.STREAM.SNAPSHOT.${stream}`, asked, { timeout: WHOLE_STREAM_MS });
    const { config, state } = checked(what, jsonOf(first));
    if (config === undefined || state === undefined) throw new SnapshotError(`${what}: an answer without settings`);
    watch.refresh();
    for await (const chunk of chunks) {
      watch.refresh();
      if (chunk.data.length === 0) {
        // 204 is the end, and older servers send no status. Anything else is a failure in the middle.
        const code = chunk.headers?.code ?? 204;
        if (code !== 204 && code !== 0) throw new SnapshotError(`${what}: ${chunk.headers?.description} (${code})`);
        return { config, state };
      }
      await write(chunk.data);
      chunk.respond();
    }
    const why = silent ? `nothing came for ${SILENT_MS / 1000} s` : 'the connection was closed';
    throw new SnapshotError(`${what} ended in the middle: ${why}`);
  } finally {
    clearTimeout(watch);
    chunks.unsubscribe();
  }
}

/**
 * Makes a stream again from a snapshot: the same sequences, times, headers and consumers. Resolves when the server has stored
 * all of it.
 *
 * @throws {SnapshotError} when there is a stream of this name, no room for it, or the snapshot is damaged.
 */
export async function restoreStream(
  nc: NatsConnection,
  { config, state }: StreamSnapshot,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const stream = String(config['name']);
  const what = `${stream} could not be restored`;
  const begun = await nc.request(`$JS.API.STREAM.RESTORE.${stream}`, JSON.stringify({ config, state }), {
    timeout: SILENT_MS,
  });
  const { deliver_subject: target } = checked(what, jsonOf(begun));
  if (target === undefined) throw new SnapshotError(`${what}: the server named no place to send it to`);
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
      const piece = chunk.subarray(at, at + CHUNK_BYTES);
      checked(what, jsonOf(await nc.request(target, piece, { timeout: SILENT_MS })));
    }
  }
  checked(what, jsonOf(await nc.request(target, '', { timeout: WHOLE_STREAM_MS })));
}
