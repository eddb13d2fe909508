import type { Handler } from '../config/spec.ts';
import { PermanentError } from '../errors.ts';
import { matches } from '../nats/subject.ts';

/**
 * One handler made of several, each for a subject: a name, or a pattern with `*` and `>`. An equal name comes first, then
 * the patterns in the order they are listed. A message whose subject fits none goes to the dead letters.
 *
 * @example
 * definePipeline({ ..., handle: bySubject({ 'orders.created': created, 'orders.*': other }) });
 */
export function bySubject<T, D = undefined>(handlers: Readonly<Record<string, Handler<T, D>>>): Handler<T, D> {
  const exact = new Map(Object.entries(handlers));
  const patterns = Object.entries(handlers)
    .filter(([subject]) => /(^|\.)(\*|>)(\.|$)/.test(subject))
    .map(([subject, handler]) => ({ pattern: subject.split('.'), handler }));
  return async (message, context) => {
    const { subject } = message;
    const tokens = subject.split('.');
    const handler = exact.get(subject) ?? patterns.find(({ pattern }) => matches(pattern, tokens))?.handler;
    if (handler === undefined) throw new PermanentError(`no handler for subject ${subject}`);
    return handler(message, context);
  };
}
