import type { Logger } from '../log.ts';
import { readOutcome } from './outcome.ts';
import type { HandlerResult } from './retry-decision.ts';

/** How a handler call ended, its value not looked at yet. */
export type Returned = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown };

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
  read(value: unknown): HandlerResult {
    try {
      const { outcome, known } = readOutcome(value);
      if (!known && !this.#warned) {
        this.#warned = true;
        const hint = 'the handler returned a value that is no outcome: counted as success; return nothing instead';
        this.#log.warn({ pipeline: this.#pipeline, type: typeof value }, hint);
      }
      return { ok: true, outcome };
    } catch (error) {
      return { ok: false, error };
    }
  }

  /** One result for each of `count` messages. A batch handler that throws, or answers with the wrong number, fails them all. */
  spread(returned: Returned, count: number, isBatch: boolean): readonly HandlerResult[] {
    const all = (result: HandlerResult): HandlerResult[] => Array.from({ length: count }, () => result);
    if (!returned.ok) return all(returned);
    const { value } = returned;
    if (!Array.isArray(value) || !isBatch) return all(this.read(value));
    const list: readonly unknown[] = value;
    if (list.length !== count) {
      const error = new TypeError(`the batch handler returned ${list.length} outcomes for ${count} messages`);
      return all({ ok: false, error });
    }
    return list.map((one) => this.read(one));
  }
}
