import { ApiProblem, problemOf } from './problem.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  readonly query?: Query | undefined;
  readonly json?: unknown;
  readonly body?: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Told when an answer says that no one is signed in, or no longer. */
let onUnauthenticated = (): void => {};
export function whenUnauthenticated(listener: () => void): void {
  onUnauthenticated = listener;
}

/** Proves that a change comes from this page; the gateway gives it with the session. Empty while keys are off. */
let csrfToken = '';
export function useCsrfToken(token: string): void {
  csrfToken = token;
}

/** The path with its query, without what is undefined or empty. */
export function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === '' ? path : `${path}?${text}`;
}

/**
 * One request to the gateway that served this page.
 *
 * @throws {ApiProblem} for every answer that is no success, and with the code `unreachable` when there is none.
 */
export async function request<Answer>(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const answer = await send(method, path, options);
  return (answer.status === 204 ? undefined : await answer.json()) as Answer;
}

/** The same, with the whole answer: for its headers, or for a body that is no JSON. */
export async function send(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const { query, json, body, headers, signal } = options;
  const changes = method !== 'GET';
  const answer = await fetch(withQuery(path, query), {
    method,
    headers: {
      accept: 'application/json',
      ...(json !== undefined || (changes && body === undefined) ? { 'content-type': 'application/json' } : {}),
      ...(changes && csrfToken !== '' ? { 'x-csrf-token': csrfToken } : {}),
      ...headers,
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    ...(body === undefined ? {} : { body }),
    ...(signal === undefined ? {} : { signal }),
  }).catch((error: unknown) => {
    if (signal?.aborted === true) throw error;
    throw new ApiProblem('The gateway does not answer. Is it running, and is the network up?', { code: 'unreachable' });
  });
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (problem.code === 'unauthenticated') onUnauthenticated();
  throw problem;
}
