import type { Logger } from '../log.ts';
import type { Context, EmitOptions } from './context.ts';

/** What a handler gets of its run. The run itself can be aborted and is settled by what it says, which is not the handler's. */
export class ContextView<D> implements Context<D> {
  readonly #run: Context<D>;

  constructor(run: Context<D>) {
    this.#run = run;
  }

  get deps(): D {
    return this.#run.deps;
  }
  get log(): Logger {
    return this.#run.log;
  }
  get signal(): AbortSignal {
    return this.#run.signal;
  }
  get fence(): number | undefined {
    return this.#run.fence;
  }

  emit(subject: string, data: Uint8Array | string | object, options?: EmitOptions): void {
    this.#run.emit(subject, data, options);
  }
}
