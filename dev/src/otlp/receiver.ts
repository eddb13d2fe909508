import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { findPortHolder, PortInUseError } from '../port-holder.ts';
import { engineCharts } from './charts.ts';
import { filterOf } from './filter.ts';
import { LIVE_SCRIPT_HASH } from './live.ts';
import { readLogs, readSpans } from './otlp-json.ts';
import { readLogRecords, readTraces } from './otlp-protobuf.ts';
import { chartsPage, listPage, logsPage } from './pages.ts';
import { startScraper, type Scraper, type ScrapeTarget } from './scraper.ts';
import { tracePage } from './trace-page.ts';
import { openTraceStore, type TraceStore, type TraceStoreOptions } from './trace-store.ts';

export interface OtlpReceiverOptions extends TraceStoreOptions {
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /** Whose metrics the charts show and Prometheus is told to read; asked anew each time. */
  readonly targets?: () => readonly ScrapeTarget[];
}

/** A running receiver. */
export interface OtlpReceiver {
  /** OTLP/HTTP is taken here, and the pages are served here. */
  readonly url: string;
  readonly store: TraceStore;
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 16 * 1024 * 1024;
const PROTOBUF = 'application/x-protobuf';

/**
 * Takes OTLP over HTTP, as protobuf or JSON, and keeps the last traces and logs in memory; shows them as pages:
 *
 * - `/` traces, `/trace/<id>` one as a waterfall with its logs, `/logs?jobId=` a job's lines, `/charts` the engine live
 * - `GET /api/traces?jobId=`, `/api/traces/<id>`, `/api/logs?traceId=&jobId=`, `/api/stats` the same as JSON
 * - `GET /prometheus/targets` every replica, for Prometheus' `http_sd_configs`
 */
export async function startOtlpReceiver(options: OtlpReceiverOptions = {}): Promise<OtlpReceiver> {
  const store = openTraceStore(options);
  const targets = options.targets ?? (() => []);
  const scraper = startScraper({ targets });
  const port = options.port ?? 0;
  const server = createServer((request, response) => {
    answer(request, response, { store, scraper, targets }).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else if (error instanceof RefusedError) json(response, error.status, { message: error.message });
      else json(response, 500, { message: 'failed' });
    });
  });
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    scraper.stop();
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new PortInUseError(port, 'OTLP receiver', await findPortHolder(port), { cause: error });
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    store,
    close: () =>
      new Promise((resolve) => {
        scraper.stop();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** By https://prometheus.io/docs/prometheus/latest/http_sd/. The label `job` takes the place of the scrape job's name. */
const targetGroups = (targets: readonly ScrapeTarget[]): readonly object[] =>
  targets.map(({ service, url }) => ({ targets: [new URL(url).host], labels: { job: service } }));

/** The request cannot be taken as it is. */
class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly code = 'OTLP_REFUSED';
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What the pages show. */
interface Shown {
  readonly store: TraceStore;
  readonly scraper: Scraper;
  readonly targets: () => readonly ScrapeTarget[];
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { store, scraper, targets }: Shown,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://receiver');
  const path = url.pathname;
  if (request.method === 'POST') {
    if (path === '/v1/traces') store.addSpans(readSpans(await readBody(request, readTraces)));
    else if (path === '/v1/logs') store.addLogs(readLogs(await readBody(request, readLogRecords)));
    // Metrics are scraped; a client that pushes them too gets no error for it.
    else if (path === '/v1/metrics') await readBody(request, () => undefined);
    else throw new RefusedError(404, `nothing is taken at ${path}`);
    // The answer has the form of the request, and of what was taken an empty one says all.
    if (isProtobuf(request)) return void response.writeHead(200, { 'content-type': PROTOBUF }).end();
    return json(response, 200, {});
  }
  if (request.method !== 'GET') throw new RefusedError(405, 'GET and POST');

  const traceId = url.searchParams.get('traceId') ?? '';
  const jobId = url.searchParams.get('jobId') ?? '';
  const filter = { ...(traceId === '' ? {} : { traceId }), ...(jobId === '' ? {} : { jobId }) };
  const [, apiTrace] = /^\/api\/traces\/([0-9a-f]{32})$/.exec(path) ?? [];
  const [, shown] = /^\/trace\/([0-9a-f]{32})$/.exec(path) ?? [];
  if (apiTrace !== undefined) {
    const spans = store.spans(apiTrace);
    return json(response, spans.length === 0 ? 404 : 200, { traceId: apiTrace, spans });
  }
  if (shown !== undefined) return page(response, tracePage(store.spans(shown), store.logs({ traceId: shown })));
  switch (path) {
    case '/':
      return page(
        response,
        listPage(store.list(), url.searchParams.get('q') ?? '', filterOf(url.searchParams), Date.now()),
      );
    case '/logs':
      return page(
        response,
        logsPage(
          store.logs({ ...filter, limit: 20_000 }),
          jobId,
          jobId === '' ? [] : store.tracesOfJob(jobId),
          filterOf(url.searchParams),
          Date.now(),
        ),
      );
    case '/charts':
      return page(response, chartsPage(engineCharts(scraper.scrapes)));
    case '/api/traces': {
      const all = store.list();
      const wanted = jobId === '' ? undefined : store.tracesOfJob(jobId);
      const traces = wanted === undefined ? all : wanted.flatMap((id) => all.find((each) => each.traceId === id) ?? []);
      return json(response, 200, { traces });
    }
    case '/api/logs':
      return json(response, 200, { logs: store.logs(filter) });
    case '/api/charts':
      return json(response, 200, { charts: engineCharts(scraper.scrapes) });
    case '/prometheus/targets':
      return json(response, 200, targetGroups(targets()));
    case '/api/stats':
      return json(response, 200, store.counts);
    default:
      throw new RefusedError(404, 'not found');
  }
}

const isProtobuf = (request: IncomingMessage): boolean => (request.headers['content-type'] ?? '').startsWith(PROTOBUF);

async function readBody(request: IncomingMessage, readProtobuf: (body: Buffer) => unknown): Promise<unknown> {
  if (!isProtobuf(request) && !/^application\/json\b/.test(request.headers['content-type'] ?? '')) {
    throw new RefusedError(415, 'OTLP over HTTP is taken, as protobuf or JSON');
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new RefusedError(413, 'too large');
    chunks.push(chunk);
  }
  const raw = Buffer.concat(chunks);
  try {
    const body =
      request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw, { maxOutputLength: MAX_BODY_BYTES }) : raw;
    return isProtobuf(request) ? readProtobuf(body) : (JSON.parse(body.toString('utf8')) as unknown);
  } catch (error) {
    throw new RefusedError(400, error instanceof Error ? error.message : 'not OTLP');
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}

function page(response: ServerResponse, text: string): void {
  // No script but the one that keeps a page current: span names are foreign text.
  response
    .writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': `default-src 'none'; style-src 'unsafe-inline'; script-src ${LIVE_SCRIPT_HASH}; connect-src 'self'; form-action 'self'`,
    })
    .end(text);
}
