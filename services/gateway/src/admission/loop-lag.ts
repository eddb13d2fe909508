/** How late this process is with everything it does. */
export interface LoopLag {
  /** True once callbacks keep coming later than the limit, until they no longer do. */
  readonly isHigh: () => boolean;
  close(): void;
}

const LOOK_EVERY_MS = 50;
/** One long pause is a start, a collection, a busy neighbour. So many looks in a row that are late are overload. */
const LATE_LOOKS = 3;
/** It is over once so many looks in a row were less than half as late. */
const CALM_LOOKS = 4;

/**
 * Watches the event loop by how late a timer comes. When it is late time and again, every answer is; work that is
 * refused then costs its client a second, work that is taken in would make all others wait as well. (Node's own
 * histogram of the delay forgets the first interval after each reset, which in a blocked process is the only one.)
 */
export function watchLoopLag(limitMs: number): LoopLag {
  const judge = lagJudge(limitMs);
  let high = false;
  let dueMs = performance.now() + LOOK_EVERY_MS;
  const timer = setInterval(() => {
    high = judge(performance.now() - dueMs);
    dueMs = performance.now() + LOOK_EVERY_MS;
  }, LOOK_EVERY_MS);
  timer.unref();
  return { isHigh: () => high, close: () => clearInterval(timer) };
}

/** Takes how late each look was and says whether that is overload by now. */
export function lagJudge(limitMs: number): (lateMs: number) => boolean {
  let high = false;
  let late = 0;
  let calm = 0;
  return (lateMs) => {
    late = lateMs > limitMs ? late + 1 : 0;
    calm = lateMs < limitMs / 2 ? calm + 1 : 0;
    if (late >= LATE_LOOKS) high = true;
    else if (calm >= CALM_LOOKS) high = false;
    return high;
  };
}
