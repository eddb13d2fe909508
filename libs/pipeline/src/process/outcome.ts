import { errorMessage } from './describe-error.ts';

/**
 * What a handler may return. There is no ack handle: one delivery has one outcome, by return or by throw, so nothing
 * can be settled twice or forgotten.
 */
export type Outcome =
  /** Done. Returning nothing means the same. */
  | { readonly kind: 'ack' }
  /** Nothing to do; acknowledged and counted apart. */
  | { readonly kind: 'skip'; readonly reason: string }
  /** Try again, after the retry policy's delay or after `afterMs` (at most the policy's `maxAfterMs`). */
  | { readonly kind: 'retry'; readonly afterMs?: number; readonly reason?: string }
  /**
   * Come back after `forMs` (at most the policy's `maxAfterMs`) as if this run had not been: no attempt is used. With an
   * `error` the breaker counts it as a failure: what every message needs is away, and none is to blame.
   */
  | { readonly kind: 'snooze'; readonly forMs: number; readonly reason?: string; readonly error?: unknown }
  /** Give up now: the message goes to the dead letters. */
  | { readonly kind: 'deadLetter'; readonly reason: string };

/**
 * How a delivery ended: as its handler wanted, or `duplicate` (done before, acknowledged), `busy` (another worker has the
 * work), `released` (given back unrun or stopped), `deferred` (sent back because of a limit, to come again).
 */
export type Settlement = Outcome['kind'] | 'duplicate' | 'busy' | 'released' | 'deferred';

/** A handler that threw, or was stopped. */
export interface Failure {
  readonly kind: 'failed';
  readonly error: unknown;
}

const KINDS: ReadonlySet<unknown> = new Set<Outcome['kind']>(['ack', 'skip', 'retry', 'snooze', 'deadLetter']);

/**
 * What a handler returned, as an outcome with every field of its type. Nothing is an ack, and so is a value that is no
 * outcome (the row its last call returned), which is not `known`. Throws what reading the value throws.
 */
export function readOutcome(value: unknown): { readonly outcome: Outcome; readonly known: boolean } {
  if (value === undefined || value === null) return NOTHING;
  if (typeof value !== 'object' || !('kind' in value) || !KINDS.has(value.kind)) return UNKNOWN;
  const { kind, reason, afterMs, forMs, error } = value as Readonly<Record<string, unknown>> & {
    kind: Outcome['kind'];
  };
  const why = reason === undefined || reason === null ? undefined : errorMessage(reason);
  switch (kind) {
    case 'skip':
      return { outcome: { kind, reason: why ?? 'the handler gave no reason' }, known: true };
    case 'deadLetter':
      return { outcome: { kind, reason: why ?? 'the handler gave no reason' }, known: true };
    case 'retry':
      return {
        outcome: {
          kind,
          ...(why === undefined ? {} : { reason: why }),
          ...(typeof afterMs === 'number' ? { afterMs } : {}),
        },
        known: true,
      };
    case 'snooze':
      return {
        outcome: {
          kind,
          forMs: typeof forMs === 'number' ? forMs : 0,
          ...(why === undefined ? {} : { reason: why }),
          ...(error === undefined ? {} : { error }),
        },
        known: true,
      };
    case 'ack':
    default:
      return { outcome: ACK, known: true };
  }
}

const ACK: Outcome = { kind: 'ack' };
const NOTHING = { outcome: ACK, known: true } as const;
const UNKNOWN = { outcome: ACK, known: false } as const;
