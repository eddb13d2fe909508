/** A request body found no room in memory. Nothing of it was read, or what was read is dropped. */
export class BodyBudgetError extends Error {
  override readonly name = 'BodyBudgetError';
  readonly code = 'body_budget_exceeded';
  /** Seconds after which another attempt makes sense. */
  readonly retryAfterSeconds = 2;
}

/** The memory that one request holds for its body. */
export interface BodyLease {
  /**
   * Takes so many bytes more.
   *
   * @throws {BodyBudgetError} when they do not fit; what was taken before stays taken until `release`.
   */
  grow(bytes: number): void;
  /** Gives some bytes back. */
  shrink(bytes: number): void;
  /** Gives everything back. Safe to call twice. */
  release(): void;
}

/**
 * Bytes of request bodies that a process holds at once, over HTTP and RPC. Beyond it a request is refused instead of
 * read: memory is what many unfinished bodies use up first, and a process that is out of it answers no request.
 *
 * With `fair`, an account may hold no more than what is still free, so one account alone gets half, two get a third each,
 * and there is always room for the next account.
 */
export class BodyBudget {
  readonly totalBytes: number;
  readonly #fair: boolean;
  /** Only of accounts that hold something: an entry ends with its last lease. */
  readonly #heldBy = new Map<string, number>();
  #held = 0;

  constructor(totalBytes: number, fair: boolean) {
    this.totalBytes = totalBytes;
    this.#fair = fair;
  }

  /** Bytes held now. */
  get heldBytes(): number {
    return this.#held;
  }

  /** The most that one body can ever be given. */
  get mostBytes(): number {
    return this.#fair ? Math.floor(this.totalBytes / 2) : this.totalBytes;
  }

  open(account: string): BodyLease {
    let mine = 0;
    let released = false;
    const add = (bytes: number): void => {
      mine += bytes;
      this.#held += bytes;
      const held = (this.#heldBy.get(account) ?? 0) + bytes;
      if (held === 0) this.#heldBy.delete(account);
      else this.#heldBy.set(account, held);
    };
    return {
      grow: (bytes) => {
        // A body may still be arriving after its answer has gone out.
        if (released) throw new BodyBudgetError('The request has been answered already.');
        const free = this.totalBytes - this.#held - bytes;
        if (free < 0) {
          throw new BodyBudgetError('The server holds as many bytes of request bodies as it has room for.');
        }
        if (this.#fair && (this.#heldBy.get(account) ?? 0) + bytes > free) {
          throw new BodyBudgetError('The requests of this account hold as much of the memory for bodies as one may.');
        }
        add(bytes);
      },
      shrink: (bytes) => add(-Math.min(bytes, mine)),
      release: () => {
        released = true;
        add(-mine);
      },
    };
  }
}
