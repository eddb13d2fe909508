/** A scheduled call. */
export interface Timer {
  cancel(): void;
}

/** Time as a parameter, so that a test can move it by hand. */
export interface Clock {
  /** Milliseconds on a clock that never jumps. Differences mean something, values do not. */
  now(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  /** Runs once after `ms`. */
  after(ms: number, run: () => void): Timer;
  /** Runs every `ms` until cancelled. */
  every(ms: number, run: () => void): Timer;
  /** Runs once at the end of this turn of the event loop. */
  soon(run: () => void): void;
}

/** The process's own clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  },
  every(ms, run) {
    const timer = setInterval(run, ms).unref();
    return { cancel: () => clearInterval(timer) };
  },
  soon(run) {
    setImmediate(run);
  },
};

/**
 * A clock whose calls cannot end the process: nothing catches what a timer throws, and a connection that is being drained
 * throws from every call. What was thrown goes to `failed`; a repeated call is made again at its next time.
 */
export function guardClock(clock: Clock, failed: (error: unknown) => void): Clock {
  const guarded = (run: () => void) => () => {
    try {
      run();
    } catch (error) {
      failed(error);
    }
  };
  return {
    now: () => clock.now(),
    wall: () => clock.wall(),
    after: (ms, run) => clock.after(ms, guarded(run)),
    every: (ms, run) => clock.every(ms, guarded(run)),
    soon: (run) => clock.soon(guarded(run)),
  };
}
