import type { Observer } from '../events.ts';
import type { NatsPort } from '../nats/port.ts';
import type { HandlerResult } from './retry-decision.ts';
import type { Run } from './run.ts';

/**
 * Stores what a run emitted, if its handler succeeded for one message at least. Resolves with the results: what cannot
 * be stored fails the messages that had succeeded, as their emits would be lost otherwise.
 */
export async function publishEmits<T, D>(
  run: Run<T, D>,
  results: readonly HandlerResult[],
  publish: NatsPort['publish'],
  pipeline: string,
  observe: Observer | undefined,
): Promise<readonly HandlerResult[]> {
  const [message] = run.deliveries;
  const succeeded = results.some(
    (result) => result.ok && result.outcome?.kind !== 'retry' && result.outcome?.kind !== 'deadLetter',
  );
  if (run.emits === undefined || !succeeded) return results;
  try {
    await Promise.all(
      run.emits.map(({ subject, body, id, headers }) =>
        publish(subject, body, { id, ...(headers === undefined ? {} : { headers }) }),
      ),
    );
    observe?.({ type: 'emit.published', pipeline, message, count: run.emits.length });
    return results;
  } catch (error) {
    observe?.({ type: 'emit.failed', pipeline, message, error });
    return results.map((result) => (result.ok ? { ok: false, error } : result));
  }
}
