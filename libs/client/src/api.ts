import createFetch, { type Client } from 'openapi-fetch';
import type { paths } from './gen/api.ts';
import type { Transport } from './transport.ts';

/** Every route of the API, typed from its OpenAPI document; see https://openapi-ts.dev/openapi-fetch. */
export type Api = Client<paths>;

/** What any call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** What a call that makes a job takes. */
export interface NewJobOptions extends CallOptions {
  /**
   * The same key and request within 24 hours meet the same job. A new one for each call unless given, which covers the
   * repeats of this client: give your own when the process itself may end and begin again.
   */
  readonly idempotencyKey?: string | undefined;
  /** Answer with the ended job if it ends within so many seconds, at most 60. Otherwise the answer comes at once. */
  readonly waitSeconds?: number | undefined;
}

/** Routes that take an `Idempotency-Key`, as the document has them. */
type KeyedPath = {
  [Path in keyof paths]: paths[Path] extends { post: { parameters: { header?: { 'idempotency-key'?: string } } } }
    ? paths[Path] extends { post: { parameters: { header?: never } } }
      ? never
      : Path
    : never;
}[keyof paths];
/** Written out, because types are gone at run time. A route that is missing here does not compile. */
const keyed: Readonly<Record<KeyedPath, true>> = {
  '/v1/emails': true,
  '/v1/emails:batch': true,
  '/v1/events': true,
  '/v1/images': true,
  '/v1/users': true,
};
/** Routes that do the same however often they are called. */
const REPEATABLE = /^\/v1\/(images:fromUpload|pipelines\/[^/]+:(pause|resume))$/;
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);
export const IDEMPOTENCY_KEY = 'idempotency-key';

/** Whether carrying a request out twice is the same as once. */
export function isRepeatable(method: string, path: string, headers: Headers): boolean {
  return SAFE_METHODS.has(method) || headers.has(IDEMPOTENCY_KEY) || REPEATABLE.test(path);
}

/** Pages that came over plain http from another machine have no `crypto.randomUUID`. */
export const newIdempotencyKey = (): string =>
  `"${[...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}"`;

/** Headers of a request that makes a job. */
export function newJobHeaders({ idempotencyKey, waitSeconds }: NewJobOptions): Record<string, string> {
  return {
    [IDEMPOTENCY_KEY]: idempotencyKey ?? newIdempotencyKey(),
    ...(waitSeconds === undefined ? {} : { prefer: `wait=${waitSeconds}` }),
  };
}

/** Whether cookies travel; see `fetch`. */
export type Credentials = 'include' | 'omit' | 'same-origin';

/** How requests get their credentials. */
export type PrepareHeaders = (headers: Headers) => Promise<void>;

/** The typed routes on a transport. */
export function createApi(
  baseUrl: string,
  transport: Transport,
  prepare: PrepareHeaders,
  options: { readonly timeoutMs: number; readonly credentials?: Credentials | undefined },
): Api {
  const basePath = new URL(baseUrl, 'http://localhost').pathname.replace(/\/$/, '');
  const { credentials, timeoutMs } = options;
  return createFetch<paths>({
    baseUrl,
    ...(credentials === undefined ? {} : { credentials }),
    fetch: async (request) => {
      const path = new URL(request.url).pathname.slice(basePath.length);
      if (request.method === 'POST' && path in keyed && !request.headers.has(IDEMPOTENCY_KEY)) {
        request.headers.set(IDEMPOTENCY_KEY, newIdempotencyKey());
      }
      // The API takes no POST that a page of another origin could send without asking first; a body names its type itself.
      if (request.method === 'POST' && !request.headers.has('content-type')) {
        request.headers.set('content-type', 'application/json');
      }
      return transport({
        repeatable: isRepeatable(request.method, path, request.headers),
        signal: request.signal,
        timeoutMs,
        request: async (signal) => {
          const copy = new Request(request.clone(), { signal });
          await prepare(copy.headers);
          return copy;
        },
      });
    },
  });
}

/**
 * The body of an answer. What is no success was thrown before, so there always is one.
 *
 * @example
 * const stats = await dataOf(sluice.api.GET('/v1/stats'));
 */
export async function dataOf<T>(answer: Promise<{ readonly data?: T }>): Promise<T> {
  return (await answer).data as T;
}
