import { startNats, type NatsProcess } from '@sluice/dev';
import { connectNats, createBus, provision, topology, type Bus } from '@sluice/messaging';
import { definePipeline } from '@sluice/pipeline';
import { createHarness } from '@sluice/pipeline/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { announceCancellation, unlessCancelled, watchCancellations, type Cancellations } from './cancellations.ts';
import { newJobId } from './id.ts';
import { jobLog, type JobLog } from './log.ts';
import { requestCancel } from './state.ts';

let server: NatsProcess;
let bus: Bus;
let jobs: JobLog;
let cancellations: Cancellations;

beforeAll(async () => {
  server = await startNats();
  const nc = await connectNats({ url: server.url, name: 'cancellations-test' });
  await provision(nc, topology);
  bus = await createBus(nc);
  jobs = jobLog(bus);
  cancellations = watchCancellations(bus.port);
  await bus.port.flush();
});
afterAll(async () => {
  cancellations?.close();
  await bus?.close();
  await server?.stop();
});

/** Jobs whose work an earlier attempt has done. */
const done = new Set<string>();

/** A pipeline whose handler runs until its signal is aborted, unless told to finish. */
const pipeline = (handle: (signal: AbortSignal) => Promise<void>) =>
  createHarness(
    definePipeline<{ jobId: string }>({
      name: 'worker',
      sources: [{ stream: 'IMAGES', consumer: 'url_to_pdf' }],
      decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()) as { jobId: string },
      use: [
        unlessCancelled(jobs, cancellations, {
          report: () => ({ kind: 'skip', reason: 'nothing was done' }),
          wasDone: async (message) => done.has(message.data.jobId),
        }),
      ],
      handle: (_message, { signal }) => handle(signal),
    }),
    undefined,
  );

describe('work on a job that is cancelled', () => {
  test('is not begun when it was cancelled before', async () => {
    const jobId = newJobId();
    await jobs.accept({ id: jobId });
    await jobs.transition(jobId, requestCancel);
    let ran = false;
    const worker = pipeline(async () => {
      ran = true;
    });
    expect(await worker.deliver({ jobId })).toMatchObject({ outcome: 'skip' });
    expect(ran).toBe(false);
  });

  test('is finished when an earlier attempt has done it', async () => {
    const jobId = newJobId();
    await jobs.accept({ id: jobId });
    await jobs.transition(jobId, requestCancel);
    done.add(jobId);
    expect(await pipeline(async () => {}).deliver({ jobId })).toMatchObject({ outcome: 'ack' });
  });

  test('ends through its signal when it is cancelled meanwhile', async () => {
    const jobId = newJobId();
    await jobs.accept({ id: jobId });
    const begun = Promise.withResolvers<void>();
    const worker = pipeline(async (signal) => {
      begun.resolve();
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    });
    const settled = worker.deliver({ jobId });
    await begun.promise;
    announceCancellation(bus.port, jobId);
    expect(await settled).toMatchObject({ outcome: 'skip' });
  });

  test('leaves others alone', async () => {
    const jobId = newJobId();
    await jobs.accept({ id: jobId });
    const worker = pipeline(async (signal) => {
      announceCancellation(bus.port, newJobId());
      await bus.port.flush();
      signal.throwIfAborted();
    });
    expect(await worker.deliver({ jobId })).toMatchObject({ outcome: 'ack' });
  });
});
