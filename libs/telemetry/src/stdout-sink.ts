import { fstatSync, writeSync } from 'node:fs';
import type { LineSink } from './log.ts';

/** Bytes of lines that wait for a reader: minutes of a service's log lines. */
const MAX_WAITING_BYTES = 2 ** 20;
/** Lines of these levels may wait in as much room again: the last ones of a process say why it ended. */
const GRAVE = /^\{"level":"(?:error|fatal)"/;
/** What one write takes of the lines that wait: as much as a pipe of Linux holds. */
const PIECE_BYTES = 2 ** 16;
/** How often a full pipe is tried again. */
const RETRY_MS = 10;
/** A process that ends waits for a reader who takes nothing this long, and for one who takes some of it this long. */
const PATIENCE_MS = { nothing: 1_000, some: 2_000 } as const;

const STDOUT = 1;

/** Log lines on their way to who reads stdout. */
export interface StdoutSink extends LineSink {
  /** Calls back once lines are taken again after some were dropped, with how many. */
  onDropped(listener: (lines: number) => void): void;
  /** Resolves once every line is written, or after a time. */
  flush(timeoutMs: number): Promise<void>;
}

/**
 * Writes lines to stdout without waiting for its reader, who may be slow or stand still: a write that waits would stop
 * every request and heartbeat of the process. A line is written at once while there is room in the pipe, so that it
 * outlives the process however that ends. Beyond that, lines wait in memory up to a bound, and then they are dropped.
 * What waits when the process exits is written then, while it is read.
 */
export function stdoutSink(maxBytes = MAX_WAITING_BYTES): StdoutSink {
  const { isFIFO, isSocket } = kindOf(STDOUT);
  // Node opens its own stream on a pipe in the mode in which a write fails instead of waiting.
  if (isFIFO || isSocket) process.stdout.on('error', () => undefined);
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let isGone = false;
  let timer: NodeJS.Timeout | undefined;
  let listener: (lines: number) => void = () => undefined;
  const flushed = new Set<() => void>();

  /** How much was taken; less than all when the pipe is full. */
  function taken(bytes: Buffer): number {
    try {
      return writeSync(STDOUT, bytes);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // EPIPE: who read is gone, which is no reason to end. Anything else cannot be said anywhere.
      if (code !== 'EAGAIN') isGone = true;
      return isGone ? bytes.length : 0;
    }
  }

  /** Writes what waits, as far as there is room. Returns whether any of it was taken. */
  function proceed(): boolean {
    const before = waitingBytes;
    while (waitingBytes > 0) {
      const piece = waitingBytes <= PIECE_BYTES ? Buffer.concat(waiting) : firstPiece(waiting);
      const count = taken(piece);
      waitingBytes -= count;
      waiting = after(waiting, count);
      if (count < piece.length) break;
    }
    return waitingBytes < before;
  }

  function retry(): void {
    timer = undefined;
    proceed();
    if (waitingBytes > 0) return arm();
    for (const resolve of flushed) resolve();
    flushed.clear();
    sayDropped();
  }

  function sayDropped(): void {
    const lines = dropped;
    dropped = 0;
    if (lines > 0) listener(lines);
  }

  function arm(): void {
    timer ??= setTimeout(retry, RETRY_MS);
    // Lines that are not read keep no process alive.
    timer.unref();
  }

  process.on('exit', () => {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    let waitedMs = 0;
    for (let idleMs = 0; waitingBytes > 0 && idleMs < PATIENCE_MS.nothing && waitedMs < PATIENCE_MS.some;) {
      if (proceed()) idleMs = 0;
      else {
        Atomics.wait(pause, 0, 0, RETRY_MS);
        idleMs += RETRY_MS;
        waitedMs += RETRY_MS;
      }
    }
    if (waitingBytes === 0) sayDropped();
  });

  return {
    write(line) {
      if (isGone) return;
      const bytes = Buffer.from(line);
      const count = waitingBytes === 0 ? taken(bytes) : 0;
      if (count === bytes.length) return;
      // The rest of a line that was begun is written at any bound.
      if (count === 0 && waitingBytes + bytes.length > (GRAVE.test(line) ? 2 * maxBytes : maxBytes)) {
        dropped += 1;
        return;
      }
      waiting.push(bytes.subarray(count));
      waitingBytes += bytes.length - count;
      arm();
    },
    onDropped(told) {
      listener = told;
    },
    async flush(timeoutMs) {
      if (waitingBytes === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const late = setTimeout(resolve, timeoutMs);
      flushed.add(resolve);
      await promise;
      clearTimeout(late);
    },
  };
}

function kindOf(fd: number): { readonly isFIFO: boolean; readonly isSocket: boolean } {
  try {
    const found = fstatSync(fd);
    return { isFIFO: found.isFIFO(), isSocket: found.isSocket() };
  } catch {
    return { isFIFO: false, isSocket: false }; // stdout is closed
  }
}

/** The first buffers, together about one piece. */
function firstPiece(buffers: readonly Buffer[]): Buffer {
  let bytes = 0;
  const count = buffers.findIndex((buffer) => (bytes += buffer.length) >= PIECE_BYTES) + 1;
  return Buffer.concat(buffers.slice(0, count));
}

/** What is behind so many bytes. */
function after(buffers: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  const from = buffers.findIndex((buffer) => {
    if (buffer.length > left) return true;
    left -= buffer.length;
    return false;
  });
  if (from < 0) return [];
  return [buffers[from]!.subarray(left), ...buffers.slice(from + 1)];
}
