import { createClient, type ClientOptions } from '@sluice/client';

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

/** The key of this page is its session: a cookie, which the browser sends to the gateway that served it. */
const options: ClientOptions = {
  headers: () => (csrfToken === '' ? {} : { 'x-csrf-token': csrfToken }),
  onProblem: ({ code }) => {
    if (code === 'unauthenticated') onUnauthenticated();
  },
};

/** For what a reader asked for: it is repeated where that is safe, so that a busy moment of the gateway passes unseen. */
export const sluice = createClient(options);

/** Without repeats: for what is asked for again in its turn, and for a run of load, which counts what is refused. */
export const sluiceOnce = createClient({ ...options, retry: { retries: 0 } });
