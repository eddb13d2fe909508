import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { ConnectionError, ProblemError } from './errors.ts';
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

export interface FollowOptions {
  readonly signal?: AbortSignal;
  /** Connects again for as long as it takes: for a page that stays open. A refusal ends it all the same. */
  readonly persist?: boolean;
  /** Called with true when a connection was opened, and with false when it has broken. */
  readonly onConnection?: (isOpen: boolean) => void;
}

export interface WatchOptions extends FollowOptions {
  /** The `id` of the last event that is known already. */
  readonly lastEventId?: string;
}

/** The API writes a comment every 15 s; a connection that is silent for three of them is dead. */
const SILENT_MS = 45_000;
/** Connections in a row that brought no event before it is given up. */
const MAX_EMPTY = 6;
/** Unless the API says otherwise (`retry:`). */
const RECONNECT_MS = 1_000;

/** Opens a live stream behind an event, or from its beginning. */
export type OpenStream = (path: string, lastEventId: string | undefined, signal: AbortSignal) => ReturnType<Transport>;

/**
 * The messages of a live stream, from the first one or from behind `lastEventId`, until the API says that there are no
 * more. What came together comes in one array. A connection that breaks is opened again behind the last message, so that
 * none is missed and none comes twice.
 *
 * @throws {ProblemError} when the stream is not there or the key may not read it.
 * @throws {ConnectionError} when several connections in a row bring nothing, unless it is to persist.
 */
export async function* followStream(
  open: (lastEventId: string | undefined, signal: AbortSignal) => ReturnType<Transport>,
  options: WatchOptions,
  runtime: Runtime,
): AsyncGenerator<readonly EventSourceMessage[], void, undefined> {
  const { signal, persist = false, onConnection } = options;
  let { lastEventId } = options;
  let reconnectMs = RECONNECT_MS;
  let empty = 0;
  for (;;) {
    const connection = new AbortController();
    let failure: unknown;
    let isOpen = false;
    try {
      signal?.throwIfAborted();
      const either = signal === undefined ? connection.signal : AbortSignal.any([signal, connection.signal]);
      const response = await open(lastEventId, either);
      // There is nothing behind the last event, and nothing will be.
      if (response.status === 204 || response.body === null) return;
      isOpen = true;
      onConnection?.(true);
      for await (const messages of messagesOf(response.body, connection, (ms) => (reconnectMs = ms))) {
        lastEventId = messages.findLast(({ id }) => id !== undefined)?.id ?? lastEventId;
        empty = 0;
        yield messages;
      }
    } catch (error) {
      signal?.throwIfAborted();
      // Refused: opening it again is refused again. What passes, the transport has repeated already.
      if (!isBroken(error) && !(persist && passes(error))) throw error;
      failure = error;
    } finally {
      connection.abort();
    }
    if (isOpen) onConnection?.(false);
    empty += 1;
    if (empty > MAX_EMPTY && !persist) {
      throw new ConnectionError(`${MAX_EMPTY} connections in a row brought no event`, { cause: failure });
    }
    await runtime.sleep(Math.max(reconnectMs, askedMs(failure)), signal);
  }
}

/** The events of a job, what came together in one array; ends with the job. */
export async function* watchJob(
  open: OpenStream,
  id: string,
  options: WatchOptions,
  runtime: Runtime,
): AsyncGenerator<readonly JobEvent[], void, undefined> {
  const path = `/v1/jobs/${encodeURIComponent(id)}/stream`;
  for await (const messages of followStream((last, signal) => open(path, last, signal), options, runtime)) {
    const events = messages.flatMap(eventOf);
    if (events.length > 0) yield events;
  }
}

function eventOf({ id, event, data }: EventSourceMessage): JobEvent[] {
  if (id === undefined) return [];
  return [{ ...(JSON.parse(data) as TimelineEntry), id, type: event === 'state' ? 'state' : 'lifecycle' }];
}

/** Whether what was refused may be answered later, as by an API that is being restarted. */
const passes = (error: unknown): boolean =>
  error instanceof ConnectionError || (error instanceof ProblemError && (error.status === 429 || error.status >= 500));

const askedMs = (failure: unknown): number =>
  failure instanceof ProblemError ? (failure.retryAfterSeconds ?? 0) * 1_000 : 0;

const isBroken = (error: unknown): boolean =>
  error instanceof TypeError || error instanceof Silent || (error as Error).name === 'AbortError';

class Silent extends Error {
  override readonly name = 'Silent';
}

async function* messagesOf(
  body: ReadableStream<Uint8Array>,
  connection: AbortController,
  onRetry: (ms: number) => void,
): AsyncGenerator<readonly EventSourceMessage[], void, undefined> {
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
      if (messages.length > 0) yield messages.splice(0);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
