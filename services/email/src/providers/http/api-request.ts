import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

/** A request to the API of a provider. */
export interface ApiRequest {
  readonly method: 'GET' | 'POST';
  /** Below the endpoint. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

/** An answer of any status. */
export interface ApiAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  /** The body as JSON; undefined when it is none, or longer than any answer of a provider. */
  readonly json: unknown;
}

/** A request that got no answer. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
  readonly code = 'no_answer';
  /** The last byte of the request was handed to the socket: the provider may have acted on it. */
  readonly endSent: boolean;
  constructor(cause: unknown, endSent: boolean) {
    super(wordsOf(cause), { cause });
    this.endSent = endSent;
  }
}

/** Keeps connections to one endpoint. */
export interface ApiClient {
  /** TCP connections opened so far. */
  readonly opened: number;
  /**
   * Sends a request. Redirects are not followed: the key of the request would go to another host.
   *
   * @throws {NoAnswerError}
   */
  ask(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer>;
  close(): void;
}

/** Answers have some hundred bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Below the 60 s and more for which servers keep a connection, so that it is the client that closes it. */
const IDLE_MS = 30_000;

/**
 * @param endpoint scheme, host and port; its path is not used.
 * @param maxConnections requests beyond wait for one that ends.
 */
export function createApiClient(endpoint: URL, maxConnections: number, connectMs: number): ApiClient {
  const secure = endpoint.protocol === 'https:';
  const options = { keepAlive: true, maxSockets: maxConnections, scheduling: 'lifo' } as const;
  const agent = secure ? new HttpsAgent({ ...options, minVersion: 'TLSv1.2' }) : new HttpAgent(options);
  const send = secure ? httpsRequest : httpRequest;
  let opened = 0;

  return {
    get opened() {
      return opened;
    },
    ask({ method, path, headers, body = '' }, signal) {
      return new Promise((resolve, reject) => {
        let endSent = false;
        const content = Buffer.from(body);
        const request = send(new URL(path, endpoint), {
          agent,
          method,
          signal,
          headers: { accept: 'application/json', 'user-agent': 'Sluice', 'content-length': content.length, ...headers },
        });
        const fail = (error: unknown): void => reject(new NoAnswerError(error, endSent));
        request.once('socket', (socket) => {
          if (!socket.connecting) return;
          opened += 1;
          const timer = setTimeout(() => request.destroy(new Error('no connection in time')), connectMs);
          socket.once(secure ? 'secureConnect' : 'connect', () => clearTimeout(timer));
          socket.once('close', () => clearTimeout(timer));
          // Idle ones only: while a request waits for its answer, its own time limit counts.
          socket.on('free', () => void socket.setTimeout(IDLE_MS, () => socket.destroy()));
          socket.on('agentRemove', () => void socket.setTimeout(0));
        });
        request.once('finish', () => {
          endSent = true;
        });
        request.once('error', fail);
        request.once('response', (response) => {
          readJson(response).then(
            (json) =>
              resolve({
                status: response.statusCode ?? 0,
                header: (name) => [response.headers[name]].flat()[0],
                json,
              }),
            fail,
          );
        });
        request.end(content);
      });
    },
    close: () => agent.destroy(),
  };
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) {
      response.destroy();
      return undefined;
    }
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // What a caller aborts with says why; the client's own error only says that it was.
  const { cause, message } = error;
  return error.name === 'AbortError' && cause instanceof Error ? cause.message : message || error.name;
}
