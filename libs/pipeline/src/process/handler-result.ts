import type { Logger } from '../log.ts';
import { readOutcome } from './outcome.ts';
import type { Failure, Outcome } from './outcome.ts';

/** What a handler returned, not looked at yet. */
export interface Returned {
  readonly kind: 'returned';
  readonly value: unknown;
}

/** Makes results of what handlers return, and warns once of values that are no outcome. */
export class ResultReader {
  readonly #pipeline: string;
  readonly #log: Logger;
  #warned = false;

  constructor(pipeline: string, log: Logger) {
    this.#pipeline = pipeline;
    this.#log = log;
  }

  /**
   * A value that is no outcome counts as success: the handler did its work and returned what its last call returned. A
   * retry would do the work again.
   */
  read(value: unknown): Outcome | Failure {
    try {
      const { outcome, known } = readOutcome(value);
      if (!known && !this.#warned) {
        this.#warned = true;
        const hint = 'the handler returned a value that is no outcome: counted as success; return nothing instead';
        this.#log.warn({ pipeline: this.#pipeline, type: typeof value }, hint);
      }
      return outcome;
    } catch (error) {
      return { kind: 'failed', error };
    }
  }

  /** One result for each of `count` messages. A batch handler that throws, or answers with the wrong number, fails them all. */
  spread(returned: Returned | Failure, count: number, isBatch: boolean): readonly (Outcome | Failure)[] {
    const all = (result: Outcome | Failure): (Outcome | Failure)[] => Array.from({ length: count }, () => result);
    if (returned.kind === 'failed') return all(returned);
    const { value } = returned;
    if (!Array.isArray(value) || !isBatch) return all(this.read(value));
    const list: readonly unknown[] = value;
    if (list.length !== count) {
      const error = new TypeError(`the batch handler returned ${list.length} outcomes for ${count} messages`);
      return all({ kind: 'failed', error });
    }
    return list.map((one) => this.read(one));
  }
}
