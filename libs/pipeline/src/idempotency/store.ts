/** What a store says about a key. */
export type Claim =
  /** Yours to process; hand `fence` back when you are through. It grows with every new holder of the key. */
  | { readonly state: 'new'; readonly fence: number }
  /** Another worker holds the claim, for at most `retryAfterMs` more. */
  | { readonly state: 'busy'; readonly retryAfterMs?: number }
  /** Processed before. */
  | { readonly state: 'done' };

/**
 * Remembers which messages were processed, in two phases: a key is claimed before the handler runs and marked done only
 * after it succeeded. (A one-phase store takes the retry of a failed message for a duplicate and loses it.)
 */
export interface IdempotencyStore {
  /** Takes the key for `claimMs`; a claim that is neither completed nor renewed falls free after that. */
  begin(key: string, claimMs: number): Promise<Claim>;
  /** Extends a claim. False: the claim was taken over, stop working. */
  renew(key: string, fence: number, claimMs: number): Promise<boolean>;
  /** Marks the key done for `ttlMs`. False: the claim was taken over and the newer holder decides. */
  complete(key: string, fence: number, ttlMs: number): Promise<boolean>;
  /** Gives the claim back after a failure, so that the retry finds the key new. */
  release(key: string, fence: number): Promise<void>;
}
