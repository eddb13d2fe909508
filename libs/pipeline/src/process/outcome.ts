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
  /** Give up now: the message goes to the dead letters. */
  | { readonly kind: 'deadLetter'; readonly reason: string };

const KINDS: ReadonlySet<unknown> = new Set<Outcome['kind']>(['ack', 'skip', 'retry', 'deadLetter']);

/**
 * What a handler returned, as an outcome with every field of its type. Undefined: nothing was returned, or a value that
 * is no outcome (the row its last call returned). Throws what reading the value throws.
 */
export function readOutcome(value: unknown): { readonly outcome: Outcome | undefined; readonly known: boolean } {
  if (value === undefined || value === null) return NOTHING;
  if (typeof value !== 'object' || !('kind' in value) || !KINDS.has(value.kind)) return UNKNOWN;
  const { kind, reason, afterMs } = value as { kind: Outcome['kind']; reason?: unknown; afterMs?: unknown };
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
    case 'ack':
    default:
      return { outcome: { kind: 'ack' }, known: true };
  }
}

const NOTHING = { outcome: undefined, known: true } as const;
const UNKNOWN = { outcome: undefined, known: false } as const;

/** What the engine did with one delivery, as the harness reports it. */
export interface Settlement {
  readonly outcome: Outcome['kind'];
  /** For `retry`: how long the message stays away. */
  readonly delayMs?: number;
  /** For `skip`, `retry` and `deadLetter`: why. */
  readonly reason?: string;
  /** What the handler emitted, in order; empty unless the outcome is `ack` or `skip`. */
  readonly emitted: readonly { readonly subject: string; readonly id: string; readonly data: unknown }[];
  /** For `deadLetter`: the record as it would be published. */
  readonly deadLetter?: {
    readonly subject: string;
    readonly headers: Readonly<Record<string, string | readonly string[]>>;
  };
}
