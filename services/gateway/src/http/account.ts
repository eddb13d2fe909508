import type { App } from './app.ts';

/** Who asks, and what they may do. */
export interface Account {
  readonly id: string;
  readonly scopes: ReadonlySet<string>;
}

declare module 'fastify' {
  interface FastifyRequest {
    account: Account;
  }
}

/** The account of everybody while keys are off: in `dev`, and in the demo, which listen on loopback alone. */
export const localAccount: Account = { id: 'local', scopes: new Set(['*']) };

/** Gives every request the local account. */
export function useLocalAccount(app: App): void {
  app.decorateRequest('account');
  app.addHook('onRequest', (request, _reply, done) => {
    request.account = localAccount;
    done();
  });
}
