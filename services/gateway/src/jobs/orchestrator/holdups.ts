import type { Observer } from '@sluice/pipeline';

/** What holds up single pipelines while the others go on. */
export interface Holdups {
  readonly observe: Observer;
  /** `PIPELINE: reason` for each pipeline whose breaker keeps it from pulling. */
  readonly now: () => readonly string[];
}

/** Follows the breakers of a process's pipelines and remembers the failure that opened each. */
export function holdups(): Holdups {
  const failures = new Map<string, string>();
  const open = new Map<string, string>();
  return {
    observe(event) {
      if (event.type === 'message.retryScheduled') failures.set(event.pipeline, event.reason);
      else if (event.type === 'breaker.tripped') open.set(event.pipeline, failures.get(event.pipeline) ?? '');
      else if (event.type === 'breaker.closed') open.delete(event.pipeline);
    },
    now: () => [...open].map(([pipeline, opened]) => `${pipeline}: ${failures.get(pipeline) ?? opened}`),
  };
}
