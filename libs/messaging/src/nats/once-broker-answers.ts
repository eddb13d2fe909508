import { setTimeout as sleep } from 'node:timers/promises';
import { isBrokerFault } from './broker-fault.ts';

interface Log {
  warn(fields: object, message: string): void;
}

const AGAIN_MS = 500;
/** An election of a cluster that has just started took 10 s on a machine that was full. */
const MOST_MS = 90_000;

/**
 * Runs it until the broker answers. A cluster that has just started is connected to before its streams have leaders: a
 * service that ended there would be started again and again by what watches it, which Compose takes for a failure.
 * Only for what may run twice.
 *
 * @throws what the broker refuses, at once; the last failure, when it has not answered for 90 s.
 */
export async function onceBrokerAnswers<T>(run: () => Promise<T>, log: Log): Promise<T> {
  for (const startedMs = performance.now(); ; await sleep(AGAIN_MS)) {
    try {
      return await run();
    } catch (error) {
      if (!isBrokerFault(error) || performance.now() - startedMs > MOST_MS) throw error;
      log.warn({ err: error }, 'the broker does not answer yet: a cluster that starts elects its leaders first');
    }
  }
}
