/**
 * `@sluice/pipeline/conformance`: the semantics of the engine as a suite for Vitest, which must be installed.
 */
import { afterAll, beforeAll, test } from 'vitest';
import { definePipeline } from '../index.ts';
import type { RunningPipeline } from '../index.ts';
import type { Row, Source } from './source.ts';

export type { Place, PlaceOptions, Source, Stored } from './source.ts';
import { attemptRows } from './attempts.ts';
import { batchRows } from './batches.ts';
import { breakerRows } from './breaker.ts';
import { connectionRows } from './connection.ts';
import { deadLetterRows } from './dead-letters.ts';
import { delayedRows } from './delayed.ts';
import { duplicateRows } from './duplicates.ts';
import { flowRows } from './flow.ts';
import { handlerRows } from './handler.ts';
import { isolationRows } from './isolation.ts';
import { limitRows } from './limits.ts';
import { recreatedStreamRows } from './recreated-stream.ts';
import { partitionRows } from './partitions.ts';
import { retryRows } from './retries.ts';
import { shutdownRows } from './shutdown.ts';

/** More than what its polls may take: over a hundred rows run at once, and a lease that lapses meanwhile takes its time. */
const ROW_TIMEOUT_MS = 150_000;

/** The semantics of the engine, row by row. Every source has to pass all of it. */
export function conformance(open: () => Promise<Source>): void {
  let source: Source;
  beforeAll(async () => {
    source = await open();
  });
  afterAll(() => source.close());
  const row: Row = (name, body, options) => {
    test.concurrent(name, { timeout: ROW_TIMEOUT_MS }, async ({ expect, skip }) => {
      if (options?.delayed === true) skip(!source.schedules, 'needs message schedules');
      if (options?.partitions !== undefined) skip(!source.pinning, 'needs consumers that are pinned to one client');
      const place = await source.place(options);
      const started: RunningPipeline[] = [];
      try {
        await body({
          place,
          expect,
          async start(spec, observe, nats = place.port) {
            const running = await definePipeline(spec).start({
              nats,
              deps: undefined,
              ...(observe === undefined ? {} : { observe }),
            });
            started.push(running);
            return running;
          },
        });
      } finally {
        await Promise.all(started.map((running) => running.drain()));
        await place.close();
      }
    });
  };
  handlerRows(row);
  retryRows(row);
  attemptRows(row);
  deadLetterRows(row);
  recreatedStreamRows(row);
  delayedRows(row);
  duplicateRows(row);
  shutdownRows(row);
  connectionRows(row);
  flowRows(row);
  breakerRows(row);
  limitRows(row);
  partitionRows(row);
  isolationRows(row);
  batchRows(row);
}
