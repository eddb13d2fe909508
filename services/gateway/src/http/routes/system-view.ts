import { PassThrough, type Readable } from 'node:stream';
import type { PauseEntry, ReplicaWatch } from '@sluice/messaging';
import { Type } from 'typebox';
import type { BrokerWatch } from '../../admission/broker-watch.ts';
import { GatewayError } from '../../errors.ts';
import { statsOf, StreamStats, SystemView, systemView } from '../../system/view.ts';
import { DateTime } from '../../jobs/job-view.ts';
import type { App } from '../app.ts';
import { problemResponses } from '../problem.ts';

const EVERY_MS = 500;
/** A stream ends after this long and the page asks again: a session that is over meanwhile gets no further. */
const STREAM_MS = 5 * 60_000;
/** Each is written to twice a second. */
const MOST_STREAMS = 100;
const MAX_UNREAD_BYTES = 1024 * 1024;

export interface SystemViewDeps {
  readonly watch: BrokerWatch;
  readonly replicas: ReplicaWatch;
  readonly paused: ReadonlyMap<string, PauseEntry>;
  readonly reasons: () => readonly string[];
  readonly held: () => readonly string[];
  readonly now: () => number;
  readonly closing: AbortSignal;
}

/** `GET /v1/stats` and `GET /v1/system`: the broker within the last second, and the replicas as they are heard. */
export function systemViewRoutes(app: App, deps: SystemViewDeps): void {
  app.addSchema(SystemView);
  const config = { scope: 'admin' } as const;
  const tags = ['operations'];
  const broker = () => {
    const state = deps.watch.state();
    if (state !== undefined) return state;
    throw new GatewayError('unavailable', 'The broker has not answered yet.', { retryAfterSeconds: 1 });
  };
  const view = (): SystemView =>
    systemView({
      broker: broker(),
      replicas: deps.replicas.replicas(),
      paused: deps.paused,
      reasons: deps.reasons(),
      held: deps.held(),
      nowMs: deps.now(),
    });
  app.get(
    '/v1/stats',
    {
      config,
      schema: {
        operationId: 'getStats',
        summary: 'Streams and consumers: what waits, what runs, what is stuck',
        tags,
        response: {
          200: Type.Object(
            { at: DateTime, streams: Type.Array(StreamStats) },
            { description: 'As of the last half second.' },
          ),
          ...problemResponses(),
        },
      },
    },
    async () => {
      const { atMs, streams } = broker();
      return { at: new Date(atMs).toISOString(), streams: streams.map((stream) => statsOf(stream, deps.now())) };
    },
  );
  app.get(
    '/v1/system',
    {
      config,
      schema: {
        operationId: 'getSystem',
        summary: 'The system as it stands: replicas of every service, streams, and what is wrong',
        tags,
        response: {
          200: { description: 'The system.', content: { 'application/json': { schema: Type.Ref('System') } } },
          ...problemResponses(),
        },
      },
    },
    async () => view(),
  );
  let open = 0;
  app.get(
    '/v1/system/stream',
    {
      config,
      exposeHeadRoute: false,
      schema: {
        operationId: 'streamSystem',
        summary: 'The same twice a second, as server-sent events named `system`; ends after five minutes',
        tags,
        response: {
          200: {
            description: 'The stream.',
            content: { 'text/event-stream': { schema: Type.Unsafe<Readable>(Type.String()) } },
          },
          ...problemResponses(),
        },
      },
    },
    async (_request, reply) => {
      if (open >= MOST_STREAMS) {
        const detail = `${MOST_STREAMS} pages follow the system already: close some.`;
        throw new GatewayError('unavailable', detail, { retryAfterSeconds: 30 });
      }
      const out = new PassThrough();
      open += 1;
      const write = (): void => {
        if (deps.watch.state() === undefined || out.writableEnded) return;
        out.write(`event: system\ndata: ${JSON.stringify(view())}\n\n`);
        // A reader this far behind is gone.
        if (out.writableLength > MAX_UNREAD_BYTES) out.destroy();
      };
      const timer = setInterval(write, EVERY_MS);
      const leave = (): void => void out.end();
      const end = setTimeout(leave, STREAM_MS);
      deps.closing.addEventListener('abort', leave, { once: true });
      out.once('close', () => {
        open -= 1;
        clearInterval(timer);
        clearTimeout(end);
        deps.closing.removeEventListener('abort', leave);
      });
      out.write('retry: 1000\n\n');
      write();
      return reply
        .type('text/event-stream')
        .header('cache-control', 'no-store')
        .header('x-accel-buffering', 'no')
        .send(out);
    },
  );
}
