import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.ts';
import { findPortHolder, PortInUseError } from '../port-holder.ts';
import type { EtagHash } from './body.ts';
import { bucketRequest, listBuckets } from './bucket-requests.ts';
import { corsHeaders } from './cors.ts';
import { errorDocument, S3Error } from './error.ts';
import { createExchange, type Exchange } from './exchange.ts';
import { createFaultPlan, type FaultPlan, type S3Fault, type S3FaultEffect, type S3FaultRule } from './fault.ts';
import { expiredKeys } from './lifecycle.ts';
import { objectRequest } from './object-requests.ts';
import type { ServerState } from './server-state.ts';
import { verifySignature } from './signature.ts';
import { openStore } from './store.ts';
import { XmlError } from './xml.ts';

/** How to start the embedded S3. */
export interface StartS3Options {
  /** Where buckets and objects are kept; created when missing, read back on the next start. */
  directory: string;
  /** A free one when absent. */
  port?: number;
  /** 127.0.0.1 by default. */
  host?: string;
  /** `sluice` by default. */
  accessKeyId?: string;
  /** `sluice-dev-secret` by default. */
  secretAccessKey?: string;
  /** `us-east-1` by default. */
  region?: string;
  /** Buckets to create at start when they are missing. */
  buckets?: readonly string[];
  /**
   * What ETags are made of. `md5`, the default, is what clients that compare expect. `sha1` costs a third of it on a
   * processor that has instructions for it, and tells by its length that it is none.
   */
  etagHash?: EtagHash;
  /** Whether the list of unfinished uploads says when each was begun. SeaweedFS (4.47) does not. Yes by default. */
  datesUploads?: boolean;
  now?: () => Date;
}

/** A running embedded S3. */
export interface S3Server {
  readonly url: string;
  readonly port: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  /** Makes requests go wrong from now on. */
  fail(rule: S3FaultRule): S3Fault;
  /** Lifts every fault. */
  clearFaults(): void;
  /** Stops listening and cuts every connection: clients get ECONNREFUSED until acceptConnections(). */
  refuseConnections(): Promise<void>;
  acceptConnections(): Promise<void>;
  /** Deletes what the buckets' lifecycle rules expire, as S3 does about once a day. Resolves with the number of objects. */
  applyLifecycle(): Promise<number>;
  close(): Promise<void>;
}

function asS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  if (error instanceof XmlError) return new S3Error(400, 'MalformedXML', error.message, { cause: error });
  return new S3Error(500, 'InternalError', error instanceof Error ? error.message : String(error), { cause: error });
}

/** Carries out the part of a fault that comes before the work. Resolves to false when the request ends here. */
async function passesFault(exchange: Exchange, effect: S3FaultEffect | undefined): Promise<boolean> {
  switch (effect?.kind) {
    case 'delay':
      await sleep(effect.delayMs);
      return true;
    case 'hang':
      return false;
    case 'reset':
      exchange.request.socket.resetAndDestroy();
      return false;
    case 'status':
      if (effect.retryAfterSeconds !== undefined) exchange.setHeader('retry-after', String(effect.retryAfterSeconds));
      throw new S3Error(effect.status, effect.code ?? 'ServiceUnavailable', 'fault');
    default:
      // The others happen to the answer.
      return true;
  }
}

async function handle(state: ServerState, faults: FaultPlan, request: IncomingMessage, response: ServerResponse) {
  const exchange = createExchange(request, response, (method, key) => faults.hit(method, key));
  const { method, bucketName } = exchange;
  if (exchange.rawPath === '/healthz') return exchange.send(200);
  if (!(await passesFault(exchange, exchange.effect))) return;

  const cors = state.store.buckets().find((bucket) => bucket.name === bucketName)?.config['cors'];
  if (method === 'OPTIONS') {
    const headers = corsHeaders(cors, request.headers, request.headers['access-control-request-method'] ?? '');
    if (!headers) throw new S3Error(403, 'AccessForbidden', 'CORSResponse: This CORS request is not allowed.');
    return exchange.send(200, headers);
  }
  // Before authentication: a browser shows its script an error answer only with these headers on it.
  for (const [name, value] of Object.entries(corsHeaders(cors, request.headers, method) ?? {})) {
    exchange.setHeader(name, value);
  }
  const { rawPath, query } = exchange;
  verifySignature({ method, rawPath, query, headers: request.headers }, state.credentials, state.now());
  if (bucketName === '') return listBuckets(state, exchange);
  if (exchange.key === '') return await bucketRequest(state, exchange);
  return await objectRequest(state, exchange);
}

function answerError(thrown: unknown, request: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const error = asS3Error(thrown);
  const body = errorDocument(error, request.url ?? '');
  request.resume();
  response.writeHead(error.status, {
    'content-type': 'application/xml',
    'content-length': Buffer.byteLength(body),
    // With the rest of an upload still coming, the connection cannot carry another request.
    ...(request.complete ? {} : { connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new PortInUseError(port, 'S3', await findPortHolder(port), { cause: error });
  }
  return (server.address() as AddressInfo).port;
}

/**
 * Starts an S3-compatible server in this process, with its objects in files. It speaks what services use: Signature V4
 * (headers and presigned), aws-chunked bodies with trailing checksums, multipart, conditions, ranges, listings, tags,
 * CORS with preflight, lifecycle. It has no versions, ACLs, policies or encryption.
 *
 * @throws PortInUseError
 * @example
 * const s3 = await startS3({ directory: '.data/s3', port: 9000, buckets: ['sluice'] });
 * const client = new S3Client({ endpoint: s3.url, forcePathStyle: true, region: s3.region, credentials: s3 });
 */
export async function startS3(options: StartS3Options): Promise<S3Server> {
  const { host = '127.0.0.1', accessKeyId = 'sluice', secretAccessKey = 'sluice-dev-secret' } = options;
  const credentials = { accessKeyId, secretAccessKey, region: options.region ?? 'us-east-1' };
  mkdirSync(options.directory, { recursive: true });
  const now = options.now ?? (() => new Date());
  const { etagHash = 'md5', datesUploads = true } = options;
  const state: ServerState = {
    store: openStore(options.directory),
    uploads: new Map(),
    credentials,
    etagHash,
    datesUploads,
    now,
  };
  const { store } = state;
  for (const name of options.buckets ?? []) {
    if (!store.buckets().some((bucket) => bucket.name === name)) await store.createBucket(name, now().toISOString());
  }
  const faults = createFaultPlan();
  // An upload may take longer than Node's default five minutes.
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    handle(state, faults, request, response).catch((error: unknown) => answerError(error, request, response));
  });
  // Reserved, so that no other process gets the port while it refuses.
  const port = await listen(server, options.port ?? (await freePort()), host);
  const stopListening = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return {
    url: `http://${host}:${port}`,
    port,
    ...credentials,
    fail: (rule) => faults.add(rule),
    clearFaults: () => faults.clear(),
    refuseConnections: stopListening,
    async acceptConnections() {
      if (!server.listening) await listen(server, port, host);
    },
    async applyLifecycle() {
      let removed = 0;
      for (const bucket of store.buckets()) {
        const { lifecycle } = bucket.config;
        if (lifecycle === undefined) continue;
        for (const key of expiredKeys(lifecycle, [...bucket.objects.values()], now())) {
          await store.remove(bucket, key);
          removed++;
        }
      }
      return removed;
    },
    close: stopListening,
  };
}
