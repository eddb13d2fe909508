import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

/** What OTLP/HTTP says may be sent again: too much at once, or a server in between that cannot reach the receiver. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const FIRST_BACKOFF_MS = 1000;
const BACKOFF_FACTOR = 1.5;

/** A batch that did not reach the receiver. */
export class ExportError extends Error {
  override readonly name = 'ExportError';
  readonly code = 'TELEMETRY_EXPORT';
  readonly isRetryable: boolean;
  /** As the receiver asks. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, isRetryable: boolean, retryAfterMs?: number) {
    super(message);
    this.isRetryable = isRetryable;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface OtlpSenderOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** For a batch, all its attempts together. */
  readonly timeoutMs: number;
}

export interface OtlpSender {
  /** Sends one export request in protobuf, its parts in turn. Throws {@link ExportError} when it gave up. */
  send(parts: readonly Uint8Array[]): Promise<void>;
  /** Ends connections, and with them what is being sent. */
  close(): void;
}

/** Sends OTLP over HTTP with connections that are kept. */
export function otlpSender({ url, headers, timeoutMs }: OtlpSenderOptions): OtlpSender {
  const isTls = new URL(url).protocol === 'https:';
  const agent = isTls ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const request = isTls ? httpsRequest : httpRequest;
  const open = (length: number): ClientRequest => {
    const options: RequestOptions = {
      agent,
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/x-protobuf', 'content-length': length },
    };
    return request(url, options);
  };
  return {
    async send(parts) {
      const deadline = performance.now() + timeoutMs;
      for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs *= BACKOFF_FACTOR) {
        try {
          return await post(open, parts, deadline - performance.now());
        } catch (error) {
          const failure = error instanceof ExportError ? error : new ExportError(textOf(error), true);
          const waitMs = failure.retryAfterMs ?? backoffMs * (0.8 + 0.4 * Math.random());
          if (!failure.isRetryable || performance.now() + waitMs >= deadline) throw failure;
          await sleep(waitMs, undefined, { ref: false });
        }
      }
    },
    close: () => agent.destroy(),
  };
}

function post(open: (length: number) => ClientRequest, parts: readonly Uint8Array[], timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const request = open(parts.reduce((length, part) => length + part.length, 0));
  const timer = setTimeout(
    () => request.destroy(new ExportError('the receiver did not answer in time', true)),
    timeoutMs,
  );
  request.on('error', reject);
  request.on('close', () => {
    clearTimeout(timer);
    // After an answer, or an error, this says nothing any more.
    reject(new ExportError('the receiver closed the connection', true));
  });
  request.on('response', (response: IncomingMessage) => {
    response.on('error', reject);
    response.on('end', () => {
      const { statusCode = 0, headers } = response;
      if (statusCode >= 200 && statusCode < 300) return resolve();
      reject(
        new ExportError(
          `the receiver answers ${statusCode}`,
          RETRYABLE.has(statusCode),
          retryAfterMs(headers['retry-after']),
        ),
      );
    });
    response.resume();
  });
  for (const part of parts) request.write(part);
  request.end();
  return promise;
}

/** `Retry-After` in seconds or as a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** A refused connection to a name with several addresses has no message of its own. */
const textOf = (error: unknown): string => {
  const { message, code } = error as NodeJS.ErrnoException;
  return message === '' ? (code ?? 'unknown') : message;
};

/** Headers of exports, as OpenTelemetry's variables have them: `name=value,name=value`, values percent-encoded. */
export function otlpHeaders(env: NodeJS.ProcessEnv = process.env): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const text of [env['OTEL_EXPORTER_OTLP_HEADERS'], env['OTEL_EXPORTER_OTLP_TRACES_HEADERS']]) {
    for (const entry of (text ?? '').split(',')) {
      const at = entry.indexOf('=');
      if (at <= 0) continue;
      headers[entry.slice(0, at).trim().toLowerCase()] = decoded(entry.slice(at + 1).trim());
    }
  }
  return headers;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
