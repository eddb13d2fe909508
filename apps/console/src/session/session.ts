import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { toProblem } from '../api/live.ts';
import type { ApiProblem } from '../api/problem.ts';
import { request, useCsrfToken, whenUnauthenticated } from '../api/request.ts';

/** Who looks at the page, as `GET /v1/session` says it. */
export interface Session {
  readonly account: string;
  readonly scopes: readonly string[];
  /** Absent while keys are off. */
  readonly csrfToken?: string;
  readonly expiresAt?: string;
}

export type SessionState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'signed-out' }
  | { readonly kind: 'unreachable'; readonly problem: ApiProblem }
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
    request<Session>('GET', '/v1/session').then(began, (error: unknown) => {
      const problem = toProblem(error);
      if (problem.code !== 'unauthenticated') setState({ kind: 'unreachable', problem });
    });
  }, []);
  return {
    state,
    signIn: async (key) => began(await request<Session>('POST', '/v1/session', { json: { key } })),
    signOut: async () => {
      await request('DELETE', '/v1/session');
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
