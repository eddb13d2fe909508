import type { Clock } from '../clock.ts';
import type { Claim } from './store.ts';
import type { Delivery } from '../process/delivery.ts';
import { errorMessage } from '../process/describe-error.ts';
import { HandlerAborted } from '../errors.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { Run } from '../process/run.ts';

interface ClaimsRuntime {
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe: Observer | undefined;
}

/** What became of an attempt to claim a message's idempotency key. */
export type ClaimResult = Exclude<Claim['state'], 'busy'> | { readonly waitMs: number } | 'storeFailed';

/** The idempotency keys of the messages held here: claimed before the handler, renewed, then completed or released. */
export class IdempotencyClaims<T, D> {
  readonly #spec: ResolvedSpec<T, D>;
  readonly #runtime: ClaimsRuntime;
  readonly #claimMs: number;

  constructor(spec: ResolvedSpec<T, D>, runtime: ClaimsRuntime, ackWaitMs: number) {
    this.#spec = spec;
    this.#runtime = runtime;
    this.#claimMs = spec.idempotency?.claimMs ?? ackWaitMs;
  }

  /** Throws what the `key` function throws. */
  async claim(delivery: Delivery<T>): Promise<ClaimResult> {
    const { idempotency } = this.#spec;
    if (idempotency === undefined) return 'new';
    const key = idempotency.key(delivery);
    let claim: Claim;
    try {
      claim = await idempotency.store.begin(key, this.#claimMs);
    } catch (error) {
      this.#failed(delivery, 'begin', error);
      return 'storeFailed';
    }
    if (claim.state === 'busy') return { waitMs: claim.retryAfterMs ?? this.#claimMs / 2 };
    if (claim.state === 'new') {
      delivery.claim = { key, fence: claim.fence, renewedAt: this.#runtime.clock.now() };
    }
    return claim.state;
  }

  /** Extends the claims that are due. A claim taken over by another worker aborts the handler. */
  renew(runs: Iterable<Run<T, D>>): void {
    const { idempotency } = this.#spec;
    if (idempotency === undefined) return;
    const now = this.#runtime.clock.now();
    for (const run of runs) {
      for (const delivery of run.deliveries) {
        const { claim } = delivery;
        if (run.phase !== 'running' || claim === undefined || now - claim.renewedAt < this.#claimMs / 3) continue;
        claim.renewedAt = now;
        idempotency.store.renew(claim.key, claim.fence, this.#claimMs).then(
          (kept) => {
            if (kept || delivery.claim !== claim || delivery.phase !== 'running') return;
            delivery.claim = undefined;
            this.#lost(delivery);
            run.abort(new HandlerAborted('CLAIM_LOST', 'another worker took the key over'), this.#runtime.clock.now());
          },
          (error: unknown) => this.#failed(delivery, 'renew', error),
        );
      }
    }
  }

  /** Marks the work done. False: the claim was taken over, and whoever has it decides about the message. */
  async complete(delivery: Delivery<T>): Promise<boolean> {
    const { claim } = delivery;
    const { idempotency } = this.#spec;
    if (claim === undefined || idempotency === undefined) return true;
    delivery.claim = undefined;
    try {
      if (await idempotency.store.complete(claim.key, claim.fence, idempotency.ttlMs)) return true;
      this.#lost(delivery);
      return false;
    } catch (error) {
      // The work is done; not acking would repeat it for certain, acking risks a repeat only if a duplicate exists.
      this.#failed(delivery, 'complete', error);
      return true;
    }
  }

  /** Gives the claim of a message that was not handled to the end back. */
  async release(delivery: Delivery<T>): Promise<void> {
    const { claim } = delivery;
    if (claim === undefined) return;
    delivery.claim = undefined;
    try {
      await this.#spec.idempotency?.store.release(claim.key, claim.fence);
    } catch (error) {
      this.#failed(delivery, 'release', error);
    }
  }

  #lost(delivery: Delivery<T>): void {
    this.#runtime.observe?.({ type: 'claim.lost', pipeline: this.#spec.name, message: delivery });
  }

  #failed(delivery: Delivery<T>, step: 'begin' | 'renew' | 'complete' | 'release', error: unknown): void {
    this.#runtime.observe?.({ type: 'idempotency.failed', pipeline: this.#spec.name, message: delivery, step, error });
    this.#runtime.log.warn({ pipeline: this.#spec.name, step, error: errorMessage(error) }, 'idempotency store failed');
  }
}
