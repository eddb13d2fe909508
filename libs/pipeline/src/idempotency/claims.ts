import type { Clock } from '../clock.ts';
import type { Claim } from './store.ts';
import type { Delivery, HeldClaim } from '../process/delivery.ts';
import { withTimeout } from '../settle/with-timeout.ts';
import { errorMessage } from '../process/describe-error.ts';
import type { Observer } from '../events.ts';
import type { Logger } from '../log.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';

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
  /** Why no key can be claimed at present; undefined when the last claim got an answer. */
  failing: string | undefined;

  constructor(spec: ResolvedSpec<T, D>, runtime: ClaimsRuntime, ackWaitMs: number) {
    this.#spec = spec;
    this.#runtime = runtime;
    this.#claimMs = spec.idempotency?.claimMs ?? ackWaitMs;
  }

  /** Throws what the `key` function throws. */
  async claim(delivery: Delivery<T>): Promise<ClaimResult> {
    const { idempotency } = this.#spec;
    if (idempotency === undefined) return 'new';
    const key = idempotency.key(delivery.message);
    let claim: Claim;
    try {
      claim = await this.#call(idempotency.store.begin(key, this.#claimMs));
      delivery.storeFailures = 0;
      this.failing = undefined;
    } catch (error) {
      this.#failed(delivery, 'begin', error);
      return 'storeFailed';
    }
    if (claim.state === 'busy') return { waitMs: claim.retryAfterMs ?? this.#claimMs / 2 };
    if (claim.state === 'new') {
      delivery.claim = { key, fence: claim.fence, renewedAt: this.#runtime.clock.now(), renewing: undefined };
    }
    return claim.state;
  }

  /**
   * Extends the claims that are due, of everything held: a message in an open batch waits with its claim. `lost` is told
   * of a claim that another worker took over.
   */
  renew(held: Iterable<Delivery<T>>, lost: (delivery: Delivery<T>) => void): void {
    const { idempotency } = this.#spec;
    if (idempotency === undefined) return;
    const now = this.#runtime.clock.now();
    for (const delivery of held) {
      const { claim } = delivery;
      if (claim === undefined || claim.renewing !== undefined || now - claim.renewedAt < this.#claimMs / 3) continue;
      claim.renewedAt = now;
      claim.renewing = this.#renew(delivery, claim, lost).finally(() => {
        claim.renewing = undefined;
      });
    }
  }

  async #renew(delivery: Delivery<T>, claim: HeldClaim, lost: (delivery: Delivery<T>) => void): Promise<void> {
    const { idempotency } = this.#spec;
    if (idempotency === undefined) return;
    try {
      const kept = await this.#call(idempotency.store.renew(claim.key, claim.fence, this.#claimMs));
      if (kept || delivery.claim !== claim) return;
      delivery.claim = undefined;
      delivery.claimLost = true;
      this.#lost(delivery);
      lost(delivery);
    } catch (error) {
      this.#failed(delivery, 'renew', error);
    }
  }

  /** Marks the work done. False: the claim was taken over, and the new owner decides about the message. */
  async complete(delivery: Delivery<T>): Promise<boolean> {
    const { claim } = delivery;
    const { idempotency } = this.#spec;
    if (delivery.claimLost) return false;
    if (claim === undefined || idempotency === undefined) return true;
    delivery.claim = undefined;
    await claim.renewing;
    try {
      if (await this.#call(idempotency.store.complete(claim.key, claim.fence, idempotency.ttlMs))) return true;
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
    await claim.renewing;
    try {
      const { idempotency } = this.#spec;
      if (idempotency !== undefined) await this.#call(idempotency.store.release(claim.key, claim.fence));
    } catch (error) {
      this.#failed(delivery, 'release', error);
    }
  }

  #call<R>(call: Promise<R>): Promise<R> {
    const timeoutMs = this.#spec.idempotency?.timeoutMs ?? 0;
    return withTimeout(call, timeoutMs, this.#runtime.clock, 'the idempotency store');
  }

  #lost(delivery: Delivery<T>): void {
    this.#runtime.observe?.({ type: 'claim.lost', pipeline: this.#spec.name, message: delivery.message });
  }

  #failed(delivery: Delivery<T>, step: 'begin' | 'renew' | 'complete' | 'release', error: unknown): void {
    if (step === 'begin') this.failing = errorMessage(error);
    this.#runtime.observe?.({
      type: 'idempotency.failed',
      pipeline: this.#spec.name,
      message: delivery.message,
      step,
      error,
    });
    this.#runtime.log.warn({ pipeline: this.#spec.name, step, error: errorMessage(error) }, 'idempotency store failed');
  }
}
