import { setTimeout as delay } from 'node:timers/promises';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import type { Logger } from '@sluice/telemetry';
import { buffersOf } from '../packed-messages.ts';
import { placeName, type ReadModelPlace } from '../read-model-url.ts';
import { ReadModelUnavailableError, type Batch, type ReadModel } from '../read-model.ts';
import { received, type Call, type Method, type Said, type ThreadData } from './protocol.ts';

/** Questions that wait for the thread. Beyond it an answer would come later than clients wait for. */
const MOST_WAITING = 256;
/** Heap of the thread: a batch and a page are small. Beyond it the thread ends, and not the process. */
const HEAP_MIB = 96;
const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 5_000;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A read model in a thread of its own. */
export interface ThreadedReadModel extends ReadModel {
  /** Why it cannot answer now; undefined when it can. */
  problem(): string | undefined;
  /** Questions that wait for the thread, as a share of what may wait. */
  waitingShare(): number;
}

/**
 * Starts the thread and opens the read model in it. A thread that ends is started again, and what it had not answered is
 * rejected with {@link ReadModelUnavailableError}.
 *
 * @throws what opening a file for the first time throws. A database that does not answer is asked again until it does.
 */
export async function startReadModel(
  place: ReadModelPlace,
  log: Logger,
  newThread = (file: URL, options: WorkerOptions): Worker => new Worker(file, options),
): Promise<ThreadedReadModel> {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  let problem: string | undefined;
  let closing = false;
  let lastId = 0;

  const rejectAll = (reason: string): void => {
    for (const { reject } of waiting.values()) reject(new ReadModelUnavailableError(reason));
    waiting.clear();
  };

  const hear = (said: Said): void => {
    if (said.kind === 'log') {
      log[said.level](said.error === undefined ? {} : { err: received(said.error) }, said.text);
      return;
    }
    if (said.kind !== 'returned' && said.kind !== 'threw') return;
    const found = waiting.get(said.id);
    waiting.delete(said.id);
    if (said.kind === 'returned') found?.resolve(said.value);
    else found?.reject(received(said.error));
  };

  const start = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const data: ThreadData = { place };
      const thread = newThread(new URL('./main.ts', import.meta.url), {
        workerData: data,
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: HEAP_MIB / 4 },
      });
      let fault: unknown;
      thread.on('message', (said: Said) => {
        if (said.kind === 'open' && closing) void thread.terminate();
        else if (said.kind === 'open') {
          worker = thread;
          problem = undefined;
          resolve();
        } else if (said.kind === 'failed') {
          fault = received(said.error);
          void thread.terminate();
        } else hear(said);
      });
      thread.on('error', (error) => {
        fault = error;
      });
      thread.once('exit', (code) => {
        const wasOpen = worker === thread;
        if (wasOpen) worker = undefined;
        if (!wasOpen) return reject((fault as Error | undefined) ?? new Error(`the thread ended with ${code}`));
        // The question that closes the file may be among them: its end would be waited for.
        if (closing) return rejectAll('The read model was closed.');
        problem = 'the thread of the read model ended and is started again';
        rejectAll(`${problem}.`);
        log.error({ err: fault, code }, problem);
        void restart();
      });
    });

  async function restart(): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      await delay(Math.min(LONGEST_RESTART_MS, FIRST_RESTART_MS * 2 ** tries), undefined, { ref: false });
      if (closing) return;
      try {
        await start();
        return;
      } catch (error) {
        problem = `the read model in ${placeName(place)} cannot be opened: ${error instanceof Error ? error.message : String(error)}`;
        if (tries === 0) log.error({ err: error }, problem);
      }
    }
  }

  function call(method: Method, args: readonly unknown[], transfer: ArrayBuffer[] = []): Promise<never> {
    if (worker === undefined) {
      return Promise.reject(
        new ReadModelUnavailableError(`The read model cannot answer: ${problem ?? 'it is closed'}.`),
      );
    }
    if (waiting.size >= MOST_WAITING) {
      return Promise.reject(new ReadModelUnavailableError(`${MOST_WAITING} questions to the read model wait already.`));
    }
    const thread = worker;
    return new Promise((resolve, reject) => {
      const id = (lastId += 1);
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      const sentCall: Call = { id, method, args };
      thread.postMessage(sentCall, transfer);
    });
  }

  try {
    await start();
  } catch (error) {
    // A file that another process has is a mistake to be told at once. A database that does not answer may be starting.
    if (place.kind !== 'postgres' || !(error instanceof ReadModelUnavailableError)) throw error;
    problem = `the read model in ${placeName(place)} cannot be opened: ${error.message}`;
    log.error({ err: error }, problem);
    void restart();
  }
  return {
    problem: () => problem,
    waitingShare: () => waiting.size / MOST_WAITING,
    follow: (...args) => call('follow', args),
    apply: (batch: Batch) => call('apply', [batch], buffersOf(batch.messages)),
    jobs: (...args) => call('jobs', args),
    job: (...args) => call('job', args),
    counts: (...args) => call('counts', args),
    incomplete: (...args) => call('incomplete', args),
    seen: (...args) => call('seen', args),
    open: () => call('open', []),
    openJobs: (...args) => call('openJobs', args),
    forget: (...args) => call('forget', args),
    eraseRecipient: (...args) => call('eraseRecipient', args),
    prune: (...args) => call('prune', args),
    usage: () => call('usage', []),
    async close() {
      if (closing) return;
      closing = true;
      const thread = worker;
      if (thread === undefined) return;
      await call('close', []).catch(() => undefined);
      worker = undefined;
      await thread.terminate();
      rejectAll('The read model was closed.');
    },
  };
}
