import { createServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createConnectRouter, type ConnectRouter, type ConnectRouterOptions } from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  connectNodeAdapter,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { ErrorInfoSchema, EventService, JobService, UserService } from '@sluice/contracts';
import type { Logger } from '@sluice/telemetry';
import type { App } from '../http/app.ts';
import { door } from './door.ts';
import { reflection } from './reflection.ts';
import { rpcServices, type RpcDeps } from './services.ts';

/** The calls a gateway answers, ready to be served. */
export interface Rpc {
  readonly routes: (router: ConnectRouter) => void;
  readonly options: ConnectRouterOptions;
}

/**
 * Bytes of pictures in one call. They count against the limit of an upload, too; but a call is in memory as a whole,
 * several times over while it is read, and an upload never is. Larger pictures go to `POST /v1/uploads`.
 */
const MAX_CALL_PICTURE_BYTES = 50 * 2 ** 20;

/** The RPCs of a gateway: its services behind the door, and reflection. */
export function createRpc(deps: RpcDeps): Rpc {
  const offer = rpcServices(deps);
  const reflect = reflection([UserService, JobService, EventService], [ErrorInfoSchema]);
  return {
    routes: (router) => {
      offer(router);
      reflect(router);
    },
    options: {
      interceptors: [door(deps.access, deps.log)],
      acceptCompression: [compressionGzip, compressionBrotli],
      readMaxBytes: Math.min(deps.limits.maxBytes, MAX_CALL_PICTURE_BYTES) + 64 * 1024,
    },
  };
}

/** A listener for gRPC, gRPC-web and Connect over cleartext HTTP/2, where gRPC clients expect one. */
export interface RpcServer {
  readonly port: number;
  /** Answers the calls that are open, takes no more, and ends what is left after `drainTimeoutMs`. */
  stop(drainTimeoutMs: number): Promise<void>;
}

const MAX_STREAMS_PER_CONNECTION = 1_000;
const IDLE_CONNECTION_MS = 5 * 60_000;

/** Serves calls on a port of their own; 0 picks a free one. */
export async function startRpcServer(
  rpc: Rpc,
  listen: { readonly host: string; readonly port: number },
  log: Logger,
): Promise<RpcServer> {
  const handler = connectNodeAdapter({ ...rpc.options, routes: rpc.routes });
  const server = createServer({ settings: { maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION } }, handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', (error) => log.debug({ err: error }, 'an RPC connection broke'));
    session.setTimeout(IDLE_CONNECTION_MS, () => session.close());
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
 * Serves the same calls on the HTTP port: Connect and gRPC-web speak HTTP/1.1, so a browser or curl needs no other door.
 * The door checks the key, not the route, because its errors have the shape of the protocol.
 */
export async function mountRpc(app: App, rpc: Rpc): Promise<void> {
  const router = createConnectRouter(rpc.options);
  rpc.routes(router);
  await app.register(async (scope) => {
    // The handler reads the bytes itself, whatever their type.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    for (const handler of router.handlers) {
      scope.post(
        handler.requestPath,
        { config: { scope: 'public' }, schema: { hide: true } },
        async (request, reply) => {
          reply.hijack();
          const answer = await handler(universalRequestFromNodeRequest(request.raw, reply.raw, undefined, undefined));
          await universalResponseToNodeResponse(answer, reply.raw);
        },
      );
    }
  });
}
