import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { scheduleOf } from '../delayed/schedule.ts';
import type { Observer } from '../events.ts';
import type { NatsPort } from '../nats/port.ts';
import type { Failure, Outcome } from './outcome.ts';
import type { Run } from './run.ts';

/**
 * Stores what a run emitted, if its handler succeeded for one message at least. Resolves with the results: what cannot
 * be stored fails the messages that had succeeded, as their emits would be lost otherwise.
 */
export async function publishEmits<T, D>(
  run: Run<T, D>,
  results: readonly (Outcome | Failure)[],
  publish: NatsPort['publish'],
  { name: pipeline, delayed }: Pick<ResolvedSpec<T, D>, 'name' | 'delayed'>,
  observe: Observer | undefined,
): Promise<readonly (Outcome | Failure)[]> {
  const [{ message }] = run.deliveries;
  const succeeded = results.some(isSuccess);
  if (run.emits === undefined || !succeeded) return results;
  try {
    await Promise.all(
      run.emits.map(({ subject, body, id, headers, at }) => {
        if (at === undefined || delayed === undefined)
          return publish(subject, body, { id, ...(headers === undefined ? {} : { headers }) });
        const scheduled = scheduleOf(delayed.subject, { subject, id, headers }, at);
        return publish(scheduled.subject, body, { id, headers: scheduled.headers });
      }),
    );
    observe?.({ type: 'emit.published', pipeline, message, count: run.emits.length });
    return results;
  } catch (error) {
    observe?.({ type: 'emit.failed', pipeline, message, error });
    return results.map((result) => (isSuccess(result) ? { kind: 'failed', error } : result));
  }
}

const isSuccess = ({ kind }: Outcome | Failure): boolean => kind === 'ack' || kind === 'skip';
