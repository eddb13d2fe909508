// A conversion that is slow by the clock: on a busy machine that says nothing of the picture.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startImageSystem, type ImageSystem } from './image-run.ts';

let system: ImageSystem;
const photo = await readFile(new URL('../../../samples/photo.jpg', import.meta.url));

beforeAll(async () => {
  system = await startImageSystem({ CONVERT_TIMEOUT_MS: '1000' });
});
afterAll(() => system.close());

describe('a conversion that does not end within CONVERT_TIMEOUT_MS', () => {
  const hang = (jobId: string, times: number): void => {
    const effect = { kind: 'hang-body', afterBytes: 20_000 } as const;
    system.s3.fail({ method: 'GET', keyPrefix: `uploads/${jobId}`, times, effect });
  };

  test('is tried again', async () => {
    hang('job_slow', 1);
    await system.ask({ jobId: 'job_slow', files: [photo], stored: true });
    const { result } = await system.ended('job_slow');
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { width: 1600 } });
    expect(result?.attempt).toBeGreaterThan(1);
  });

  test('three times, each with more time, and then fails with timeout', async () => {
    hang('job_hung', Number.POSITIVE_INFINITY);
    await system.ask({ jobId: 'job_hung', files: [photo], stored: true });
    const { result, deadLetter } = await system.ended('job_hung');
    expect(deadLetter).toBeUndefined();
    expect(result).toMatchObject({ attempt: 3, outcome: { case: 'failed', value: { code: 'timeout' } } });
  });
});
