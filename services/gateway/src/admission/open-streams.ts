import { GatewayError } from '../errors.ts';

export interface OpenStreamLimits {
  readonly perAccount: number;
  /** Of all accounts, in this process. */
  readonly total: number;
}

/** A stream costs a timer, a buffer of up to 1 MiB and a descriptor, for as long as its job is open. */
export const defaultOpenStreams: OpenStreamLimits = { perAccount: 200, total: 2_000 };

/** Event streams that are open. With keys off every caller is one account, which then may use all there is. */
export class OpenStreams {
  readonly #limits: OpenStreamLimits;
  /** Only of accounts with an open stream: an entry ends with its last one. */
  readonly #open = new Map<string, number>();
  #total = 0;

  constructor(limits: OpenStreamLimits) {
    this.#limits = limits;
  }

  /** Streams that are open now. */
  get total(): number {
    return this.#total;
  }

  get mostTotal(): number {
    return this.#limits.total;
  }

  get mostPerAccount(): number {
    return this.#limits.perAccount;
  }

  /**
   * Takes a place, which the returned function gives back.
   *
   * @throws {GatewayError} `rate_limited` for an account with as many as one may have, `overloaded` when there is no place
   * for anyone.
   */
  open(account: string): () => void {
    const mine = this.#open.get(account) ?? 0;
    const { perAccount, total } = this.#limits;
    if (mine >= perAccount) {
      throw new GatewayError('rate_limited', `The account has ${perAccount} event streams open: close some.`, {
        retryAfterSeconds: 10,
      });
    }
    if (this.#total >= total) {
      throw new GatewayError('overloaded', `${total} event streams are open: ask for the job itself meanwhile.`, {
        retryAfterSeconds: 10,
      });
    }
    this.#open.set(account, mine + 1);
    this.#total += 1;
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      const left = (this.#open.get(account) ?? 1) - 1;
      if (left === 0) this.#open.delete(account);
      else this.#open.set(account, left);
      this.#total -= 1;
    };
  }
}
