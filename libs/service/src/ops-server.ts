import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Why a service cannot take work now; empty when it can. */
export type Readiness = () => Promise<readonly string[]> | readonly string[];

export interface OpsServerSettings {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly ready: Readiness;
  /** What an operator should know of although work goes on; shown with readiness. */
  readonly warnings?: () => readonly string[];
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** More pages by exact path or prefix ending in `/`, for what only `dev` shows. */
  readonly pages?: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>>;
  /** Milliseconds since whenever; the process's own clock when absent. */
  readonly now?: () => number;
}

export interface OpsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** How long an answer of `ready` may be used again: probes of many must not become load. */
const READY_CACHE_MS = 1_000;

/**
 * The internal listener of a service: `/healthz` says the process is alive and asks nothing else, `/readyz` whether it
 * can take work and why not, `/metrics` the Prometheus exposition.
 */
export async function startOpsServer(settings: OpsServerSettings): Promise<OpsServer> {
  const now = settings.now ?? (() => performance.now());
  let cached: { readonly atMs: number; readonly reasons: Promise<readonly string[]> } | undefined;
  const reasons = (): Promise<readonly string[]> => {
    if (cached === undefined || now() - cached.atMs > READY_CACHE_MS) {
      const asked = Promise.resolve()
        .then(settings.ready)
        .catch((error: unknown) => [error instanceof Error ? error.message : String(error)]);
      cached = { atMs: now(), reasons: asked };
    }
    return cached.reasons;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    if (path === '/healthz') return json(response, 200, { status: 'ok' });
    if (path === '/readyz') {
      const why = await reasons();
      return json(response, why.length === 0 ? 200 : 503, {
        status: why.length === 0 ? 'ready' : 'not ready',
        reasons: why,
        ...(settings.warnings === undefined ? {} : { warnings: settings.warnings() }),
      });
    }
    if (path === '/metrics') {
      const { contentType, body } = await settings.metrics();
      response.writeHead(200, { 'content-type': contentType }).end(body);
      return;
    }
    const page = Object.entries(settings.pages ?? {}).find(([at]) =>
      at.endsWith('/') ? `${path}/`.startsWith(at) : path === at,
    );
    if (page !== undefined) return page[1](request, response);
    return json(response, 404, { status: 'not found' });
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => {
      if (!response.headersSent) json(response, 500, { status: 'error' });
      else response.destroy();
    });
  });
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen(settings.port, settings.host, listening.resolve);
  await listening.promise;
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}
