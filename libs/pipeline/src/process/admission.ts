import type { Attempts } from '../attempts/attempts.ts';
import type { ResolvedSpec } from '../config/resolve-spec.ts';
import type { DeadLetterDecision } from '../dead-letter/dead-letters.ts';
import type { ClaimResult, IdempotencyClaims } from '../idempotency/claims.ts';
import type { NatsPort } from '../nats/port.ts';
import { backoffMs } from './backoff.ts';
import type { Delivery } from './delivery.ts';
import { errorMessage } from './describe-error.ts';

/** An outage of the idempotency store is over at most this long before messages notice. */
const MAX_STORE_WAIT_MS = 5000;

/** What becomes of a message that may not run. Each settles it, or keeps it here, and resolves to false. */
export interface AdmissionRefusals<T> {
  deadLetter(delivery: Delivery<T>, decision: DeadLetterDecision): Promise<false>;
  /** As if the handler had thrown the error. */
  fail(delivery: Delivery<T>, error: unknown): Promise<false>;
  /** It was processed before. */
  duplicate(delivery: Delivery<T>): Promise<false>;
  /** A duplicate is being processed: this one comes back to find it done. */
  busy(delivery: Delivery<T>, delayMs: number): false;
  /** It stays here, unsettled, and asks again. */
  wait(delivery: Delivery<T>, delayMs: number): false;
}

/** Decides whether the handler may run: crash loop, headers, decoding and idempotency, in this order. */
export class Admission<T, D> {
  readonly #spec: ResolvedSpec<T, D>;
  readonly #random: () => number;
  readonly #claims: IdempotencyClaims<T, D>;
  readonly #attempts: Attempts<T, D>;
  readonly #refuse: AdmissionRefusals<T>;
  readonly #hasReadableHeaders: NatsPort['hasReadableHeaders'];

  constructor(
    spec: ResolvedSpec<T, D>,
    random: () => number,
    claims: IdempotencyClaims<T, D>,
    attempts: Attempts<T, D>,
    refuse: AdmissionRefusals<T>,
    hasReadableHeaders: NatsPort['hasReadableHeaders'],
  ) {
    this.#spec = spec;
    this.#random = random;
    this.#claims = claims;
    this.#attempts = attempts;
    this.#refuse = refuse;
    this.#hasReadableHeaders = hasReadableHeaders;
  }

  /** True: the handler may run. */
  admit(delivery: Delivery<T>): boolean | Promise<boolean> {
    return this.#attempts.needsRecord(delivery) ? this.#admitAgain(delivery) : this.#check(delivery);
  }

  /** A message that was delivered before: whether its last run ended is asked before, and noted for, the next one. */
  async #admitAgain(delivery: Delivery<T>): Promise<boolean> {
    await this.#attempts.read(delivery);
    if (this.#attempts.crashLoop(delivery) === undefined) await this.#attempts.begin(delivery);
    const passed = await this.#check(delivery);
    if (!passed && delivery.phase !== 'settled') await this.#attempts.ended(delivery, false);
    return passed;
  }

  #check(delivery: Delivery<T>): boolean | Promise<boolean> {
    const { idempotency, decode } = this.#spec;
    const crashLoop = this.#attempts.crashLoop(delivery);
    if (crashLoop !== undefined) {
      return this.#refuse.deadLetter(delivery, {
        kind: 'deadLetter',
        why: 'crashLoop',
        reason: crashLoop,
        error: undefined,
      });
    }
    const headerFault = delivery.headerFaultUnless(this.#hasReadableHeaders);
    if (headerFault !== undefined) {
      const { error } = headerFault;
      const reason = `its headers cannot be read: ${errorMessage(error)}`;
      return this.#refuse.deadLetter(delivery, { kind: 'deadLetter', why: 'decode', reason, error });
    }
    try {
      delivery.decode(decode);
    } catch (error) {
      const reason = errorMessage(error);
      return this.#refuse.deadLetter(delivery, { kind: 'deadLetter', why: 'decode', reason, error });
    }
    if (delivery.fault !== undefined) return this.#refuse.fail(delivery, delivery.fault.error);
    return idempotency === undefined ? true : this.#claim(delivery);
  }

  async #claim(delivery: Delivery<T>): Promise<boolean> {
    const { retry } = this.#spec;
    let claimed: ClaimResult;
    try {
      claimed = await this.#claims.claim(delivery);
    } catch (error) {
      return this.#refuse.fail(delivery, error);
    }
    if (claimed === 'new') return true;
    if (claimed === 'done') return this.#refuse.duplicate(delivery);
    if (claimed === 'storeFailed') {
      // Every message meets the same outage. Sent back, each would be delivered again and again for as long as it lasts;
      // kept here they fill the room there is, and pulling stops by itself.
      const delayMs = Math.min(MAX_STORE_WAIT_MS, backoffMs(retry, ++delivery.storeFailures, this.#random));
      return this.#refuse.wait(delivery, delayMs);
    }
    return this.#refuse.busy(delivery, Math.max(1, Math.min(claimed.waitMs, retry.maxMs)));
  }
}
