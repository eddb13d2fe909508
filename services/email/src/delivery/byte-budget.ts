/** Bytes that a process holds at once. What does not fit waits for its turn, first come, first served. */
export interface ByteBudget {
  /** Bytes held now. */
  readonly heldBytes: number;
  /**
   * Waits until so many bytes fit and takes them. More than there are altogether fit when none are held.
   *
   * @returns gives them back; once.
   * @throws the reason of the signal when it is aborted first.
   */
  take(bytes: number, signal: AbortSignal): Promise<() => void>;
}

/** @param totalBytes at most, except for one that alone is larger. */
export function createByteBudget(totalBytes: number): ByteBudget {
  let held = 0;
  const waiting: { readonly bytes: number; readonly enter: () => void }[] = [];
  const fits = (bytes: number): boolean => held === 0 || held + bytes <= totalBytes;
  /** In order: a large one that waits is not passed by small ones for ever. */
  const admit = (): void => {
    for (let next = waiting[0]; next !== undefined && fits(next.bytes); next = waiting[0]) {
      waiting.shift();
      held += next.bytes;
      next.enter();
    }
  };
  return {
    get heldBytes() {
      return held;
    },
    async take(bytes, signal) {
      signal.throwIfAborted();
      if (bytes > 0) {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        const waiter = { bytes, enter: resolve };
        const abort = (): void => {
          const at = waiting.indexOf(waiter);
          if (at < 0) return;
          waiting.splice(at, 1);
          reject(signal.reason as Error);
          // The one behind it may fit.
          admit();
        };
        waiting.push(waiter);
        signal.addEventListener('abort', abort, { once: true });
        admit();
        try {
          await promise;
        } finally {
          signal.removeEventListener('abort', abort);
        }
      }
      let given = bytes > 0;
      return () => {
        if (!given) return;
        given = false;
        held -= bytes;
        admit();
      };
    },
  };
}
