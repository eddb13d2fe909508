import type { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { freeChunk } from '../admission/free-chunk.ts';
import type { App } from './app-type.ts';
import { hasBody } from './bodies.ts';

/** Of all bodies together: a refused body must cost next to nothing, however many are sent at once. */
const BYTES_PER_SECOND = 2 * 2 ** 20;
/** Of one body. A client that reads no answer before it has sent everything gets it, up to here. */
const MOST_BYTES = 4 * 2 ** 20;
/** After the answer: time enough for a client far away to read it before its connection is closed. */
const MOST_MS = 10_000;
const TICK_MS = 25;

interface Rest {
  readonly body: IncomingMessage;
  readonly untilMs: number;
  readonly untilBytes: number;
}

/**
 * Reads what is left of bodies whose requests are answered, slowly, and closes the connection of one that has too much.
 * Node would read all of it as fast as it comes: sixty refused uploads of 16 MiB took the event loop for seconds. Closing
 * at once is no way out, because a client that is still sending would lose its answer with the connection.
 */
export function readRestsSlowly(app: App): void {
  const rests = new Set<Rest>();
  let timer: NodeJS.Timeout | undefined;

  const readSome = (): void => {
    let allowance = (BYTES_PER_SECOND * TICK_MS) / 1_000;
    const all = [...rests];
    for (const rest of all) {
      const { body, untilMs, untilBytes } = rest;
      if (body.complete || body.destroyed) {
        rests.delete(rest);
        body.resume(); // what has arrived of it, so that the connection takes the next request
      } else if (performance.now() > untilMs || body.socket.bytesRead > untilBytes) {
        rests.delete(rest);
        body.socket.destroy();
      } else if (allowance > 0) {
        const chunk = body.read() as Buffer | null;
        allowance -= chunk?.length ?? 0;
        if (chunk !== null) freeChunk(chunk);
        rests.delete(rest);
        rests.add(rest); // behind the others
      }
    }
    if (rests.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };

  const readAfter = (body: IncomingMessage, response: ServerResponse): void => {
    // Before Node's own listener, which reads the rest of a body that was not begun.
    response.prependOnceListener('finish', () => {
      if (body.complete || body.destroyed) return;
      body.unpipe();
      // An iterator that was left behind listens for 'readable', and while one does, `read` is called by it.
      body.removeAllListeners('readable');
      body.removeAllListeners('data');
      body.pause();
      // Node reads on in a request of which nothing was ever read, and one that holds all it may reads nothing for `read(0)`.
      const chunk = body.read() as Buffer | string | null;
      if (chunk instanceof Buffer) freeChunk(chunk);
      const { socket } = body;
      rests.add({ body, untilMs: performance.now() + MOST_MS, untilBytes: socket.bytesRead + MOST_BYTES });
      timer ??= setInterval(readSome, TICK_MS).unref();
    });
  };
  // Most bodies have come as a whole by the time that their answer is sent.
  app.addHook('onSend', ({ raw: body }, reply, payload, done) => {
    // A request that is injected has no connection, and nothing more comes of it.
    if (!body.complete && hasBody(body) && body.socket instanceof Socket) readAfter(body, reply.raw);
    done(null, payload);
  });
  app.addHook('preClose', async () => {
    for (const { body } of rests) body.socket.destroy();
  });
}
