import type { components } from './gen/api.ts';

/** What the API says about an error: RFC 9457, `application/problem+json`. */
export type Problem = components['schemas']['Problem'];
/** The stable codes of the API's errors; docs/api.md says what to do about each. */
export type ProblemCode = Problem['code'];

/** Every error that this client throws, besides the reason of the caller's own `AbortSignal`. `code` is stable. */
export abstract class SluiceError extends Error {
  abstract readonly code: string;
}

/** The API refused a request, or could not carry it out. */
export class ProblemError extends SluiceError {
  override readonly name = 'ProblemError';
  /** `unknown` for an answer that is not of the API: one of a proxy in between, for example. */
  readonly code: ProblemCode | 'unknown';
  readonly status: number;
  /** The answer itself, with its `errors`, `jobId` and `traceId`; undefined when `code` is `unknown`. */
  readonly problem: Problem | undefined;
  /** Seconds after which a repeat may succeed, from `Retry-After`. */
  readonly retryAfterSeconds: number | undefined;
  constructor(status: number, problem: Problem | undefined, message: string, retryAfterSeconds?: number) {
    super(message);
    this.status = status;
    this.code = problem?.code ?? 'unknown';
    this.problem = problem;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Finds the request in the logs and traces of the system. */
  get traceId(): string | undefined {
    return this.problem?.traceId;
  }
}

/** No answer came: the API is not reachable, or the connection ended before the answer did. `cause` says more. */
export class ConnectionError extends SluiceError {
  override readonly name = 'ConnectionError';
  readonly code = 'connection_failed';
}

/** What was waited for did not come within the time that the caller gave. */
export class TimeoutError extends SluiceError {
  override readonly name = 'TimeoutError';
  readonly code = 'timeout';
}

/** A job cannot be sent again as it was: the API does not tell all that it was asked for with. */
export class IncompleteError extends SluiceError {
  override readonly name = 'IncompleteError';
  readonly code = 'incomplete_request';
}

/**
 * Whether an error is a problem of the API, and of this code when one is given.
 *
 * @example
 * if (isProblem(error, 'insufficient_credits')) showTopUp();
 */
export function isProblem(error: unknown, code?: ProblemCode): error is ProblemError {
  return error instanceof ProblemError && (code === undefined || error.code === code);
}

/** The error that an answer with a 4xx or 5xx status stands for. Reads its body. */
export async function problemOf(response: Response, nowMs: number): Promise<ProblemError> {
  const text = await response.text().catch(() => '');
  const problem = parsed(response, text);
  const path = pathOf(response.url);
  const message = problem?.detail ?? `${path} answered ${response.status} ${response.statusText}`.trim();
  return new ProblemError(
    response.status,
    problem,
    message,
    retryAfterSeconds(response.headers.get('retry-after'), nowMs),
  );
}

function parsed(response: Response, text: string): Problem | undefined {
  if (!/^application\/problem\+json\b/i.test(response.headers.get('content-type') ?? '')) return undefined;
  try {
    const body = JSON.parse(text) as Partial<Problem>;
    return typeof body.code === 'string' && typeof body.detail === 'string' ? (body as Problem) : undefined;
  } catch {
    return undefined;
  }
}

/** `Retry-After` is seconds or a date (RFC 9110, 10.2.3). */
function retryAfterSeconds(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - nowMs) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

function pathOf(url: string): string {
  try {
    // Not the query: it may carry the signature of an upload.
    return new URL(url).pathname;
  } catch {
    return 'The API';
  }
}
