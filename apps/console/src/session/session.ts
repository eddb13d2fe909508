import { dataOf, isProblem, type operations } from '@sluice/client';
import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { sluice, sluiceOnce, useCsrfToken, whenUnauthenticated } from '../api/client.ts';
import { errorOf } from '../api/live.ts';

/** Who looks at the page, as `GET /v1/session` says it. */
export type Session = operations['getSession']['responses'][200]['content']['application/json'];

export type SessionState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'signed-out' }
  | { readonly kind: 'unreachable'; readonly problem: Error }
  | { readonly kind: 'signed-in'; readonly session: Session };

/** The session of this browser, and what changes it. */
export function useSession(): {
  readonly state: SessionState;
  readonly signIn: (key: string) => Promise<void>;
  readonly signOut: () => Promise<void>;
} {
  const [state, setState] = useState<SessionState>({ kind: 'loading' });
  const began = (session: Session): void => {
    useCsrfToken(session.csrfToken ?? '');
    setState({ kind: 'signed-in', session });
  };
  useEffect(() => {
    whenUnauthenticated(() => setState({ kind: 'signed-out' }));
    dataOf(sluiceOnce.api.GET('/v1/session')).then(began, (error: unknown) => {
      if (!isProblem(error, 'unauthenticated')) setState({ kind: 'unreachable', problem: errorOf(error) });
    });
  }, []);
  return {
    state,
    signIn: async (key) => began(await dataOf(sluice.api.POST('/v1/session', { body: { key } }))),
    signOut: async () => {
      await sluice.api.DELETE('/v1/session');
      setState({ kind: 'signed-out' });
    },
  };
}

const none: Session = { account: '', scopes: [] };
export const SessionContext = createContext<Session>(none);

/** Whether the reader may do what a scope names. The gateway decides again with every request. */
export function useMay(): (scope: string) => boolean {
  const { scopes } = useContext(SessionContext);
  return (scope) => scopes.includes('*') || scopes.includes(scope);
}

/** Whether requests written down for elsewhere need a key. */
export const useNeedsKey = (): boolean => useContext(SessionContext).csrfToken !== undefined;
