/**
 * What a handler may return. There is no ack handle: one delivery has one outcome, by return or by throw, so nothing
 * can be settled twice or forgotten.
 */
export type Outcome =
  /** Done. Returning nothing means the same. */
  | { readonly kind: 'ack' }
  /** Nothing to do; acknowledged and counted apart. */
  | { readonly kind: 'skip'; readonly reason: string }
  /** Try again, after the retry policy's delay or after `afterMs` (clamped to the policy's `maxMs`). */
  | { readonly kind: 'retry'; readonly afterMs?: number; readonly reason?: string }
  /** Give up now: the message goes to the dead letters. */
  | { readonly kind: 'deadLetter'; readonly reason: string };

/** What the engine did with one delivery, as the harness reports it. */
export interface Settlement {
  readonly outcome: Outcome['kind'];
  /** For `retry`: how long the message stays away. */
  readonly delayMs?: number;
  /** For `skip`, `retry` and `deadLetter`: why. */
  readonly reason?: string;
  /** What the handler emitted, in order; empty unless the outcome is `ack` or `skip`. */
  readonly emitted: readonly { readonly subject: string; readonly id: string; readonly data: unknown }[];
  /** For `deadLetter`: the record as it would be published. */
  readonly deadLetter?: {
    readonly subject: string;
    readonly headers: Readonly<Record<string, string | readonly string[]>>;
  };
}
