import { readdir, readFile } from 'node:fs/promises';
import os from 'node:os';
import { Quality } from '@sluice/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startImageSystem, type ImageSystem } from './image-run.ts';
import { bombs } from './support/bombs.ts';

let system: ImageSystem;
let filesBefore: readonly string[];
const photo = await readFile(new URL('../../../samples/photo.jpg', import.meta.url));

beforeAll(async () => {
  system = await startImageSystem();
  filesBefore = await readdir(os.tmpdir());
});
afterAll(() => system?.close());

describe('a bomb sent to the service', () => {
  test.each(bombs.map((bomb, index) => ({ ...bomb, index })))('$name: $ends', async ({ bytes, ends, index }) => {
    const jobId = `job_bomb_${index}`;
    await system.ask({ jobId, files: [bytes], stored: true });
    const { result, deadLetter } = await system.ended(jobId);
    expect(deadLetter).toBeUndefined();
    expect(result?.attempt).toBe(1);
    const stored = await system.store.head(`pdf/${jobId}.pdf`);
    if (ends === 'converted') {
      expect(result?.outcome.case).toBe('succeeded');
      expect(stored?.sizeBytes).toBeLessThan(10_000);
    } else {
      expect(result?.outcome).toMatchObject({ case: 'failed', value: { code: ends } });
      expect(stored).toBeUndefined();
    }
  });

  test('leaves nothing on the disk', async () => {
    // Other processes use the folder too: their temporary files disappear by themselves.
    const left = async () => {
      const names = (await readdir(os.tmpdir())).filter((name) => !filesBefore.includes(name));
      return names.filter((name) => /vips|sharp|magick/i.test(name));
    };
    await expect.poll(left).toEqual([]);
  });

  test('costs no decoder its life, and the next job nothing', async () => {
    await system.ask({ jobId: 'job_after', files: [photo], stored: true });
    expect((await system.ended('job_after')).result?.outcome.case).toBe('succeeded');
    // A low quality has to go through a decoder.
    await system.ask({ jobId: 'job_decoded', files: [photo], options: { quality: Quality.LOW } });
    expect((await system.ended('job_decoded')).result?.outcome).toMatchObject({
      case: 'succeeded',
      value: { path: 'decode' },
    });
    expect(await system.metrics()).not.toMatch(
      /image_decoders_ended_total\{[^}]*why="(memory|time|crash)"[^}]*\} [1-9]/,
    );
  });
});
