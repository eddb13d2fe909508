/** Runs attempts at one provider: each ends when it takes too long, is aborted, or the transport is closed. */
export interface Attempts {
  run<T>(attempt: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Ends those that run. */
  close(): void;
}

/** @param attemptMs one attempt altogether: what ends a provider that answers one byte at a time. */
export function createAttempts(attemptMs: number): Attempts {
  const running = new Set<AbortController>();
  return {
    async run(attempt, signal) {
      const ended = new AbortController();
      const abort = (): void => ended.abort(signal?.reason);
      const timer = setTimeout(() => ended.abort(new Error('the attempt took too long')), attemptMs);
      running.add(ended);
      signal?.addEventListener('abort', abort, { once: true });
      if (signal?.aborted === true) abort();
      try {
        return await attempt(ended.signal);
      } finally {
        clearTimeout(timer);
        running.delete(ended);
        signal?.removeEventListener('abort', abort);
      }
    },
    close() {
      for (const ended of running) ended.abort(new Error('the service is stopping'));
    },
  };
}
