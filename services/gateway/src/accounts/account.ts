/** Who asks, and what they may do. */
export interface Account {
  readonly id: string;
  readonly scopes: ReadonlySet<string>;
}

/** The account of every caller while keys are off: in `dev`, and in the demo, which listen on loopback alone. */
export const localAccount: Account = { id: 'local', scopes: new Set(['*']) };
