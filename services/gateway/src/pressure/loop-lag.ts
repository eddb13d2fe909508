/** How late this process is with everything it does. */
export interface LoopLag {
  /** True while callbacks have lately come later than the limit. */
  readonly isHigh: () => boolean;
  close(): void;
}

const LOOK_EVERY_MS = 50;
/** It is over once so many looks in a row were less than half as late. */
const CALM_LOOKS = 4;

/**
 * Watches the event loop by how late a timer comes. When it is late, every answer is; work that is refused then costs
 * its client a second, work that is taken in would make all others wait as well. (Node's own histogram of the delay
 * forgets the first interval after each reset, which in a blocked process is the only one there is.)
 */
export function watchLoopLag(limitMs: number, now: () => number = () => performance.now()): LoopLag {
  let high = false;
  let calm = 0;
  let dueMs = now() + LOOK_EVERY_MS;
  const timer = setInterval(() => {
    const lateMs = now() - dueMs;
    dueMs = now() + LOOK_EVERY_MS;
    if (lateMs > limitMs) {
      high = true;
      calm = 0;
    } else if (high) {
      calm = lateMs < limitMs / 2 ? calm + 1 : 0;
      high = calm < CALM_LOOKS;
    }
  }, LOOK_EVERY_MS);
  timer.unref();
  return { isHigh: () => high, close: () => clearInterval(timer) };
}
