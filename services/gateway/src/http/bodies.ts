import type { IncomingMessage } from 'node:http';
import type { BodyBudget } from '../admission/body-budget.ts';
import type { BodyWatch, ProgressRule } from '../admission/body-watch.ts';
import { answerOnSocket } from './answer-problem.ts';
import type { App } from './app-type.ts';

/** How much of request bodies a process holds at once, and how fast they have to arrive. */
export interface BodySettings extends ProgressRule {
  readonly totalBytes: number;
}

/** 4 KiB/s, so that 128 MiB may take hours and a body that stands still takes 16 s. */
export const defaultBodies: BodySettings = {
  totalBytes: 192 * 2 ** 20,
  windowMs: 16_000,
  minBytesPerWindow: 64 * 1024,
};

/** What bodies of both protocols are counted against. */
export interface Bodies {
  readonly budget: BodyBudget;
  readonly watch: BodyWatch;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Memory that a body of this route holds at most, when that is not its whole length: a stream is held in pieces.
     * `counted` for routes that count their bodies themselves.
     */
    bodyHolds?: number | 'counted';
  }
}

/**
 * Bounds the memory of all bodies together, and cuts those that have stopped arriving. Added after the checks of keys
 * and rates: what these refuse holds nothing.
 */
export function useBodies(app: App, { budget, watch }: Bodies): void {
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { raw, route } = request;
    const { bodyHolds = route.bodyLimit ?? Infinity } = route.config;
    if (!hasBody(raw) || bodyHolds === 'counted') {
      done(null, payload);
      return;
    }
    const { socket } = raw;
    const lease = budget.open(request.account?.id ?? '');
    const stop = watch.watch({
      received: () => socket.bytesRead,
      isWaiting: () => raw.readableLength === 0 && !raw.complete,
      onStall: () => {
        if (reply.raw.headersSent) socket.destroy();
        else answerOnSocket(socket, 'request_timeout', 'The body stopped arriving. Send it again, without a pause.');
      },
    });
    reply.raw.once('close', () => {
      stop();
      lease.release();
    });
    try {
      lease.grow(Math.min(bodyHolds, Number(raw.headers['content-length'] ?? Infinity)));
    } catch (error) {
      done(error as Error);
      return;
    }
    done(null, payload);
  });
}

/** Whether a request announces a body. */
export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
