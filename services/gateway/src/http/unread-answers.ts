import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '@sluice/telemetry';
import type { ProgressRule } from '../admission/body-watch.ts';

/** Of all connections together: what their clients have not read yet and the kernel does not hold. */
const MOST_BYTES = 64 * 2 ** 20;
/** Requests of one connection that are answered at the same time: a client that sends more ahead waits for nothing. */
const MOST_AHEAD = 32;
const LOOK_MS = 500;

export interface UnreadRule extends ProgressRule {
  readonly log: Pick<Logger, 'warn'>;
  readonly mostBytes?: number | undefined;
}

/** The answers of a server that their clients have not read yet. */
export interface UnreadAnswers {
  /** How much of what may stay unread did, at the last look: 0 to 1. */
  share(): number;
  stop(): void;
}

interface Connection {
  /** Answered, or being answered. */
  readonly answers: Set<ServerResponse>;
  /** What the client had taken at the last look, and since when it has taken no more. */
  taken: number;
  sinceMs: number;
}

/**
 * Ends connections whose clients do not read what they asked for: an answer stays in memory until it is read. One has to
 * be taken as fast as a body has to arrive. While more than `mostBytes` stay unread altogether, those go first that have
 * taken nothing for the longest.
 */
export function endUnreadAnswers(
  server: Server,
  { windowMs, minBytesPerWindow, log, mostBytes = MOST_BYTES }: UnreadRule,
): UnreadAnswers {
  const connections = new Map<Socket, Connection>();
  let held = 0;
  /** Since the last look. */
  let ended = 0;
  const end = (socket: Socket): void => {
    if (socket.destroyed) return;
    ended += 1;
    socket.resetAndDestroy();
  };
  const unreadBytes = (socket: Socket, { answers }: Connection): number => {
    let bytes = socket.writableLength;
    // What waits for the answers before it is not with the connection yet.
    for (const answer of answers) if (answer.socket !== socket) bytes += answer.writableLength;
    return bytes;
  };

  server.on('connection', (socket: Socket) => {
    connections.set(socket, { answers: new Set(), taken: 0, sinceMs: performance.now() });
    socket.once('close', () => connections.delete(socket));
  });
  server.prependListener('request', ({ socket }: IncomingMessage, answer: ServerResponse) => {
    const connection = connections.get(socket);
    if (connection === undefined) return;
    connection.answers.add(answer);
    answer.once('close', () => connection.answers.delete(answer));
    if (connection.answers.size > MOST_AHEAD) end(socket);
  });

  const look = (): void => {
    const nowMs = performance.now();
    const waiting: { readonly socket: Socket; readonly bytes: number; readonly sinceMs: number }[] = [];
    let all = 0;
    for (const [socket, connection] of connections) {
      const taken = socket.bytesWritten - socket.writableLength;
      const bytes = unreadBytes(socket, connection);
      if (bytes === 0 || taken !== connection.taken) {
        connection.taken = taken;
        connection.sinceMs = nowMs;
      }
      if (bytes === 0) continue;
      // A piece counts as taken once all of it is.
      const allowedMs = windowMs * (1 + socket.writableLength / minBytesPerWindow);
      if (nowMs - connection.sinceMs > allowedMs) end(socket);
      else {
        all += bytes;
        waiting.push({ socket, bytes, sinceMs: connection.sinceMs });
      }
    }
    held = all;
    const oldestFirst = all > mostBytes ? waiting.toSorted((a, b) => a.sinceMs - b.sinceMs) : [];
    for (const { socket, bytes } of oldestFirst) {
      if (all <= mostBytes) break;
      end(socket);
      all -= bytes;
    }
    if (ended > 0) log.warn({ connections: ended }, 'connections were ended whose clients do not read their answers');
    ended = 0;
  };
  const timer = setInterval(look, LOOK_MS).unref();
  return { share: () => held / mostBytes, stop: () => clearInterval(timer) };
}
