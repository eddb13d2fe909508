import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { ConnectionError } from './errors.ts';
import type { components } from './gen/api.ts';
import type { Runtime, Transport } from './transport.ts';

export type TimelineEntry = components['schemas']['TimelineEntry'];

/** One event of a job's live stream. */
export interface JobEvent extends TimelineEntry {
  /** Resumes behind this event: `watch(job, { lastEventId })`. */
  readonly id: string;
  /** `state`: a state of the job. `lifecycle`: what a service says it did. */
  readonly type: 'state' | 'lifecycle';
}

export interface WatchOptions {
  readonly signal?: AbortSignal;
  /** The `id` of the last event that is known already. */
  readonly lastEventId?: string;
}

/** The API writes a comment every 15 s; a connection that is silent for three of them is dead. */
const SILENT_MS = 45_000;
/** Connections in a row that brought no event before it is given up. */
const MAX_EMPTY = 6;
/** Unless the API says otherwise (`retry:`). */
const RECONNECT_MS = 1_000;

/**
 * The events of a job, from the first one or from behind `lastEventId`, until the job has ended. A connection that breaks
 * is opened again behind the last event, so that none is missed and none comes twice.
 *
 * @throws {ProblemError} when the job is not there or the key may not read it.
 * @throws {ConnectionError} when several connections in a row bring nothing.
 */
export async function* watchJob(
  open: (lastEventId: string | undefined, signal: AbortSignal) => ReturnType<Transport>,
  options: WatchOptions,
  runtime: Runtime,
): AsyncGenerator<JobEvent, void, undefined> {
  const { signal } = options;
  let { lastEventId } = options;
  let reconnectMs = RECONNECT_MS;
  let empty = 0;
  for (;;) {
    const connection = new AbortController();
    let failure: unknown;
    try {
      signal?.throwIfAborted();
      const either = signal === undefined ? connection.signal : AbortSignal.any([signal, connection.signal]);
      const response = await open(lastEventId, either);
      // There is nothing behind the last event, and nothing will be.
      if (response.status === 204 || response.body === null) return;
      for await (const message of messagesOf(response.body, connection, (ms) => (reconnectMs = ms))) {
        if (message.id === undefined) continue;
        lastEventId = message.id;
        empty = 0;
        const type = message.event === 'state' ? 'state' : 'lifecycle';
        yield { ...(JSON.parse(message.data) as TimelineEntry), id: message.id, type };
      }
    } catch (error) {
      signal?.throwIfAborted();
      // Refused: opening it again is refused again. What passes, the transport has repeated already.
      if (!isBroken(error)) throw error;
      failure = error;
    } finally {
      connection.abort();
    }
    empty += 1;
    if (empty > MAX_EMPTY) {
      throw new ConnectionError(`${MAX_EMPTY} connections in a row brought no event`, { cause: failure });
    }
    await runtime.sleep(reconnectMs, signal);
  }
}

const isBroken = (error: unknown): boolean =>
  error instanceof TypeError || error instanceof Silent || (error as Error).name === 'AbortError';

class Silent extends Error {
  override readonly name = 'Silent';
}

async function* messagesOf(
  body: ReadableStream<Uint8Array>,
  connection: AbortController,
  onRetry: (ms: number) => void,
): AsyncGenerator<EventSourceMessage, void, undefined> {
  const decoder = new TextDecoder();
  const messages: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message), onRetry });
  const reader = body.getReader();
  try {
    for (;;) {
      const silent = setTimeout(() => connection.abort(new Silent('the stream is silent')), SILENT_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silent));
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      yield* messages.splice(0);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
