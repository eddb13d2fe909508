import { PassThrough, type Readable } from 'node:stream';
import type { LiveJobs } from './live.ts';
import { jobTimeline, type StoredEntry, type TimelinePlaces } from './timeline.ts';

/** How far a reader has come: the last sequence it saw of each stream. Travels as the `id` of server-sent events. */
export interface Cursor {
  readonly jobs: number;
  readonly events: number;
  /** How many of those it saw that came as the last message of events; undefined for all of them. */
  readonly part?: number | undefined;
}

export const cursorText = ({ jobs, events, part }: Cursor): string =>
  part === undefined ? `${jobs}-${events}` : `${jobs}-${events}.${part}`;

/** Reads a `Last-Event-ID`. What is malformed is a fresh start: a client may have kept an id of something else. */
export function cursorOf(text: string | undefined): Cursor {
  const found = /^(\d{1,15})-(\d{1,15})(?:\.(\d{1,3}))?$/.exec(text ?? '');
  if (found === null) return { jobs: 0, events: 0 };
  const [, jobs, events, part] = found;
  return { jobs: Number(jobs), events: Number(events), part: part === undefined ? undefined : Number(part) };
}

/** Whether an entry is at the cursor or before it. */
function isSeen({ stream, sequence, index }: StoredEntry, { jobs, events, part }: Cursor): boolean {
  if (stream === 'JOBS') return sequence <= jobs;
  return sequence < events || (sequence === events && (part === undefined || index < part));
}

/** The cursor behind an entry. */
const behind = ({ stream, sequence, index, more }: StoredEntry, cursor: Cursor): Cursor =>
  stream === 'JOBS'
    ? { ...cursor, jobs: sequence }
    : { ...cursor, events: sequence, part: more ? index + 1 : undefined };

/** Whether anything about a job is behind the cursor. */
export async function hasMore(places: TimelinePlaces, jobId: string, cursor: Cursor): Promise<boolean> {
  const entries = await jobTimeline(places, jobId);
  return entries.some((stored) => !isSeen(stored, cursor));
}

const HEARTBEAT_MS = 15_000;
// A reader this far behind is gone or stuck; it resumes where it stood when it comes back.
const MAX_UNREAD_BYTES = 1024 * 1024;
// Readers come back after `retry` whenever a stream ends, and learn by 204 that this was all: at once, not after a second.
const COME_BACK = 'retry: 1\n\n';
/** Characters of a history that are written at once: a write for each of thousands of events costs more than they do. */
const PIECE = 32 * 1024;

/**
 * The timeline of a job as server-sent events: what is after the cursor, then what happens, until the job has ended.
 * Each event's `id` resumes behind it.
 */
export function jobEventStream(
  deps: TimelinePlaces & { readonly live: LiveJobs; readonly closing: AbortSignal },
  jobId: string,
  from: Cursor,
): Readable {
  const out = new PassThrough();
  let cursor = from;
  let caughtUp = false;
  const early: StoredEntry[] = [];

  /** An entry as the stream has it; nothing when its reader has it already. */
  const textOf = (stored: StoredEntry): string => {
    if (isSeen(stored, cursor)) return '';
    cursor = behind(stored, cursor);
    const kind = stored.stream === 'JOBS' ? 'state' : 'lifecycle';
    return `id: ${cursorText(cursor)}\nevent: ${kind}\ndata: ${JSON.stringify(stored.entry)}\n\n`;
  };
  const write = (stored: StoredEntry): void => {
    if (out.writableEnded) return;
    const text = textOf(stored);
    if (text === '') return;
    out.write(text);
    if (out.writableLength > MAX_UNREAD_BYTES) out.destroy();
  };
  /** What its worker said before the end may come over the other tail a moment later: read, it stands before the end. */
  const end = async (stored: StoredEntry): Promise<void> => {
    // What is heard meanwhile stands behind the end: the cursor would pass it by.
    caughtUp = false;
    await readHistory();
    // A replica of the stream that lags does not have the end yet.
    for (const each of [stored, ...early.splice(0)]) write(each);
    if (!out.writableEnded) out.end(COME_BACK);
  };
  const hear = (stored: StoredEntry): void => {
    if (!caughtUp) early.push(stored);
    // A failed job that an operator sent on again is alive: only the newest state can be the end.
    else if (stored.final) end(stored).catch(() => out.destroy());
    else write(stored);
  };

  const listening = deps.live.listen(jobId, hear);

  const readHistory = async (): Promise<void> => {
    const entries = inStreamOrder(await jobTimeline(deps, jobId));
    let text = '';
    for (const [index, stored] of entries.entries()) {
      text += textOf(stored);
      if (text.length < PIECE && index < entries.length - 1) continue;
      if (out.writableEnded) return;
      if (text !== '') out.write(text);
      text = '';
      // Thousands of events are more than may wait unread: at the speed of the reader, or its line would be cut.
      if (out.writableNeedDrain) await drained(out);
    }
    const last = entries.findLast((stored) => stored.stream === 'JOBS');
    if (last?.final === true) out.end(COME_BACK);
  };

  const begin = async (): Promise<void> => {
    out.write('retry: 1000\n\n');
    await listening.heard;
    await readHistory();
    caughtUp = true;
    for (const stored of early.splice(0)) hear(stored);
  };

  // The heartbeat keeps proxies from closing the line, and reads again: a tail may have missed something while the
  // connection to the broker was down.
  const heartbeat = setInterval(() => {
    if (out.writableEnded) return; // a slow reader has not taken all of it yet
    out.write(': still here\n\n');
    void readHistory().catch(() => out.destroy());
  }, HEARTBEAT_MS);
  const leave = (): void => void out.end();
  deps.closing.addEventListener('abort', leave, { once: true });
  out.once('close', () => {
    clearInterval(heartbeat);
    listening.stop();
    deps.closing.removeEventListener('abort', leave);
  });
  begin().catch((error: unknown) => out.destroy(error as Error));
  return out;
}

/**
 * Entries by their sequences within each stream, because a cursor only ever moves forward, and by the clock between the
 * two: what waited to be sent with others stands behind what was stored meanwhile.
 */
function inStreamOrder(entries: readonly StoredEntry[]): readonly StoredEntry[] {
  const of = (stream: StoredEntry['stream']): StoredEntry[] =>
    entries.filter((stored) => stored.stream === stream).sort((a, b) => a.sequence - b.sequence || a.index - b.index);
  const [moves, words] = [of('JOBS'), of('EVENTS')];
  const ordered: StoredEntry[] = [];
  let move = 0;
  for (const word of words) {
    while (move < moves.length && moves[move]!.storedMs <= word.storedMs) ordered.push(moves[move++]!);
    ordered.push(word);
  }
  return [...ordered, ...moves.slice(move)];
}

/** Resolves when the reader has taken what was written, or has gone. */
function drained(out: PassThrough): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    out.off('drain', done).off('close', done);
    resolve();
  };
  out.once('drain', done).once('close', done);
  return promise;
}
