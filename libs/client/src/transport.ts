import { ConnectionError, problemOf, ProblemError } from './errors.ts';

/** How often and how long a request that may be repeated is repeated. */
export interface RetryOptions {
  /** Repeats after the first try; 4 unless given, 0 for none. */
  readonly retries?: number;
  /** The longest pause before the first repeat, doubled before each one after it; 250 ms unless given. */
  readonly baseMs?: number;
  /** No pause is longer; 30 s unless given. A `Retry-After` beyond it is not waited for: the error is thrown at once. */
  readonly maxMs?: number;
}

/** Time, chance and network of a client; a test gives its own. */
export interface Runtime {
  readonly fetch: (request: Request) => Promise<Response>;
  readonly now: () => number;
  readonly random: () => number;
  /** Resolves after so many milliseconds; rejects with the reason of the signal when that comes first. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** One request as it is tried. */
export interface Send {
  /** Made anew for every try: a body can be sent once. */
  readonly request: (signal: AbortSignal) => Request | Promise<Request>;
  /** Whether carrying it out twice is the same as once. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
  /** How long the head of the answer may take; undefined for as long as it takes. */
  readonly timeoutMs?: number | undefined;
  /** Sends it some other way than by `fetch`. */
  readonly by?: (request: Request) => Promise<Response>;
}

/** Sends requests, repeats those that may be, and turns what is no success into an error. */
export type Transport = (send: Send) => Promise<Response>;

export function createTransport(
  runtime: Runtime,
  options: RetryOptions = {},
  onProblem: (problem: ProblemError) => void = () => undefined,
): Transport {
  const { retries = 4, baseMs = 250, maxMs = 30_000 } = options;

  /** How long to wait before the next try; undefined when there is to be none. */
  const pause = (retry: number, retryAfterSeconds = 0): number | undefined => {
    if (retry > retries || retryAfterSeconds * 1_000 > maxMs) return undefined;
    // Full jitter, so that clients that failed together do not come back together; after what the server asks for.
    return Math.min(maxMs, retryAfterSeconds * 1_000 + runtime.random() * baseMs * 2 ** (retry - 1));
  };

  return async (send) => {
    for (let retry = 1; ; retry += 1) {
      send.signal?.throwIfAborted();
      const result = await tryOnce(runtime, send);
      if (result instanceof Response) return result;
      const again = result instanceof ConnectionError ? send.repeatable : mayRepeat(result, send.repeatable);
      const ms = again ? pause(retry, result instanceof ConnectionError ? 0 : result.retryAfterSeconds) : undefined;
      if (ms === undefined) {
        if (result instanceof ProblemError) onProblem(result);
        throw result;
      }
      await runtime.sleep(ms, send.signal);
    }
  };
}

async function tryOnce(runtime: Runtime, send: Send): Promise<Response | ProblemError | ConnectionError> {
  const { signal, timeoutMs, by = runtime.fetch } = send;
  // Of the head of the answer alone: a body may take longer, and that of a live stream does.
  const late = new AbortController();
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => late.abort(), timeoutMs);
  try {
    const request = await send.request(signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]));
    const response = await by(request);
    return response.ok || response.status === 304 ? response : await problemOf(response, runtime.now());
  } catch (error) {
    signal?.throwIfAborted();
    const why = late.signal.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(error);
    return new ConnectionError(`The API could not be reached: ${why}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** `fetch` says no more than "fetch failed"; its cause has the code of the system. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown; message?: unknown } };
  if (typeof cause?.code === 'string') return cause.code;
  return error instanceof Error ? error.message : String(error);
}

/** Refused before anything was done, so that a repeat of any request is safe. */
const NOTHING_DONE = new Set<string>(['rate_limited', 'overloaded']);
/** Statuses that pass. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

function mayRepeat(problem: ProblemError, repeatable: boolean): boolean {
  if (NOTHING_DONE.has(problem.code)) return true;
  return repeatable && (PASSING.has(problem.status) || problem.code === 'request_in_progress');
}

/** The runtime of the platform. */
export const platform: Runtime = {
  fetch: (request) => globalThis.fetch(request),
  now: Date.now,
  random: Math.random,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(done, ms);
      function stop(): void {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      }
      function done(): void {
        signal?.removeEventListener('abort', stop);
        resolve();
      }
      if (signal?.aborted === true) stop();
      else signal?.addEventListener('abort', stop, { once: true });
    }),
};
