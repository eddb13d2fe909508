/**
 * What goes wrong with a request:
 * - `status`: an error answer instead of the work, such as 503 `SlowDown`
 * - `delay`: the work, but later
 * - `hang`: nothing is ever answered
 * - `reset`: the connection is reset before the work
 * - `lose-answer`: the work is done, then the connection is reset: the client cannot know
 * - `hang-body`, `truncate`: the answer's body stops after so many bytes, with the connection open or closed
 * - `corrupt`: one byte of the answer's body is flipped
 */
export type S3FaultEffect =
  | { kind: 'status'; status: number; code?: string; retryAfterSeconds?: number }
  | { kind: 'delay'; delayMs: number }
  | { kind: 'hang' }
  | { kind: 'reset' }
  | { kind: 'lose-answer' }
  | { kind: 'hang-body'; afterBytes: number }
  | { kind: 'truncate'; afterBytes: number }
  | { kind: 'corrupt'; atByte: number };

/** Which requests go wrong, how often, and how. */
export interface S3FaultRule {
  /** HTTP method; any by default. */
  method?: string;
  /** Only keys that start with this; any by default. */
  keyPrefix?: string;
  /** How many requests; 1 by default, `Infinity` until it is lifted. */
  times?: number;
  effect: S3FaultEffect;
}

/** A rule in force. */
export interface S3Fault {
  /** How many requests it has hit. */
  readonly hits: number;
  /** Ends it; a request that hangs stays hanging until its client leaves. */
  lift(): void;
}

interface ActiveFault extends S3Fault {
  rule: S3FaultRule;
  hits: number;
}

/** The faults of one server, in the order they were added: the first that fits a request hits it. */
export interface FaultPlan {
  add(rule: S3FaultRule): S3Fault;
  hit(method: string, key: string): S3FaultEffect | undefined;
  clear(): void;
}

/** An empty plan. */
export function createFaultPlan(): FaultPlan {
  let active: ActiveFault[] = [];
  return {
    add(rule) {
      const fault: ActiveFault = { rule, hits: 0, lift: () => void (active = active.filter((one) => one !== fault)) };
      active.push(fault);
      return fault;
    },
    hit(method, key) {
      const fault = active.find(
        ({ rule, hits }) =>
          hits < (rule.times ?? 1) &&
          (rule.method === undefined || rule.method === method) &&
          (rule.keyPrefix === undefined || key.startsWith(rule.keyPrefix)),
      );
      if (fault) fault.hits++;
      return fault?.rule.effect;
    },
    clear() {
      active = [];
    },
  };
}
