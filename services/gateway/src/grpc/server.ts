import { createServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createConnectRouter } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { ErrorInfoSchema, EventService, JobService, UserService } from '@sluice/contracts';
import type { Logger } from '@sluice/telemetry';
import type { App } from '../http/app.ts';
import type { Bodies } from '../http/bodies.ts';
import { callerOf, callSpan, requestGate } from './access.ts';
import { boundedCompressions, countBody, serveCall } from './bodies.ts';
import { reflection } from './reflection.ts';
import { unaryMethods, type RpcDeps } from './services.ts';
import { unaryServer, type UnaryServer } from './unary.ts';

/** The calls a gateway answers, ready to be served. */
export interface Rpc {
  readonly handlers: readonly UniversalHandler[];
  readonly unary: UnaryServer;
  readonly bodies: Bodies;
}

/**
 * Bytes of pictures in one call. They count against the limit of an upload, too; but a call is in memory as a whole,
 * several times over while it is read, and an upload never is. Larger pictures go to `POST /v1/uploads`.
 */
const MAX_CALL_PICTURE_BYTES = 50 * 2 ** 20;

/** The RPCs of a gateway: its services behind the checks of keys, rates and bodies, and reflection. */
export function createRpc(deps: RpcDeps & { readonly bodies: Bodies }): Rpc {
  const { access, bodies, limits, log } = deps;
  const callBytes = Math.min(limits.maxBytes, MAX_CALL_PICTURE_BYTES) + 64 * 1024;
  // A message that can never fit is refused as too large, not as one to be sent again.
  const readMaxBytes = Math.min(callBytes, bodies.budget.mostBytes);
  const router = createConnectRouter({
    requestGate: requestGate(access, log, countBody(bodies, readMaxBytes)),
    interceptors: [callSpan(log)],
    acceptCompression: boundedCompressions(),
    readMaxBytes,
  });
  const methods = unaryMethods(deps);
  for (const { desc, answer } of methods) {
    router.rpc(desc, (request, context) => answer(request, callerOf(context)));
  }
  reflection([UserService, JobService, EventService], [ErrorInfoSchema])(router);
  return { handlers: router.handlers, unary: unaryServer(methods, { access, bodies, readMaxBytes, log }), bodies };
}

/** A listener for gRPC, gRPC-web and Connect over cleartext HTTP/2, where gRPC clients expect one. */
export interface RpcServer {
  readonly port: number;
  /** Answers the calls that are open, takes no more, and ends what is left after `drainTimeoutMs`. */
  stop(drainTimeoutMs: number): Promise<void>;
}

const MAX_STREAMS_PER_CONNECTION = 200;
const MAX_CONNECTIONS = 10_000;
/** A client that calls again connects again; one that only pings holds a connection for nothing. */
const DEFAULT_IDLE_MS = 2 * 60_000;

/** Serves calls on a port of their own; 0 picks a free one. */
export async function startRpcServer(
  rpc: Rpc,
  listen: { readonly host: string; readonly port: number; readonly idleMs?: number | undefined },
  log: Logger,
): Promise<RpcServer> {
  const handlers = new Map(rpc.handlers.map((handler) => [handler.requestPath, handler]));
  // Never listens: it makes request and response objects of the streams that are the framework's.
  const framework = createServer((request, response) => {
    const handler = handlers.get(request.url.split('?', 1)[0] ?? '');
    if (handler === undefined) {
      response.writeHead(404);
      response.end();
      return;
    }
    serveCall(rpc.bodies, handler, request, response).catch((error: unknown) => {
      // The caller has gone: everything else is an answer.
      log.debug({ err: error, rpc: handler.requestPath }, 'an answer could not be sent');
      request.stream.close();
    });
  });
  const server = createServer({ settings: { maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION } });
  server.on('stream', (stream, headers, flags, rawHeaders) => {
    if (!rpc.unary.take(stream, headers)) framework.emit('stream', stream, headers, flags, rawHeaders);
  });
  server.maxConnections = MAX_CONNECTIONS;
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', (error) => log.debug({ err: error }, 'an RPC connection broke'));
    const stopIdle = closeWhenIdle(session, listen.idleMs ?? DEFAULT_IDLE_MS);
    session.once('close', () => {
      sessions.delete(session);
      stopIdle();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async stop(drainTimeoutMs) {
      const closed = new Promise((resolve) => server.close(resolve));
      // GOAWAY: open calls end, new ones go to another replica.
      for (const session of sessions) session.close();
      const timer = setTimeout(() => {
        for (const session of sessions) session.destroy();
      }, drainTimeoutMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/**
 * Closes a connection that has had no call open for so long. Node's own timeout of a session counts any frame, so a
 * client that pings would hold its connection for ever.
 */
function closeWhenIdle(session: ServerHttp2Session, idleMs: number): () => void {
  let open = 0;
  const close = (): void => {
    session.close();
    // A client that does not answer the GOAWAY.
    setTimeout(() => session.destroy(), idleMs).unref();
  };
  let timer = setTimeout(close, idleMs);
  session.on('stream', (stream) => {
    open += 1;
    clearTimeout(timer);
    stream.once('close', () => {
      open -= 1;
      if (open === 0 && !session.closed) timer = setTimeout(close, idleMs);
    });
  });
  return () => clearTimeout(timer);
}

/**
 * Serves the same calls on the HTTP port: Connect and gRPC-web speak HTTP/1.1, so a browser or curl needs no other port.
 * The calls' own access check reads the key, not the route, because its errors have the shape of the protocol.
 */
export async function mountRpc(app: App, rpc: Rpc): Promise<void> {
  await app.register(async (scope) => {
    // The handler reads the bytes itself, of any type.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    for (const handler of rpc.handlers) {
      scope.post(
        handler.requestPath,
        { config: { scope: 'public', bodyHolds: 'counted' }, schema: { hide: true } },
        async (request, reply) => {
          reply.hijack();
          await serveCall(rpc.bodies, handler, request.raw, reply.raw);
        },
      );
    }
  });
}
