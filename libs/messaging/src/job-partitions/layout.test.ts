import { describe, expect, test } from 'vitest';
import { homeOf, jobStreamsOf, ONE_PARTITION, placesOf, type JobLayout } from './layout.ts';

const DAY_MS = 86_400_000;
const raised: readonly JobLayout[] = [
  { fromMs: 0, partitions: 1 },
  { fromMs: 10 * DAY_MS, partitions: 4 },
  { fromMs: 20 * DAY_MS, partitions: 8 },
];
const ids = Array.from({ length: 4_000 }, (_, n) => `job_${n.toString(36).padStart(26, 'a')}`);
const streamsAt = (ms: number): string[] => ids.map((id) => homeOf(raised, id, ms).stream);

describe('the stream of a job', () => {
  test('is JOBS while there is one partition', () => {
    expect(homeOf(ONE_PARTITION, ids[0]!, 0)).toMatchObject({ stream: 'JOBS', template: 'jobs.{jobId}' });
    expect(new Set(streamsAt(10 * DAY_MS - 1))).toEqual(new Set(['JOBS']));
  });

  test('is one of as many as there are partitions, each about as often', () => {
    for (const [day, count] of [
      [10, 4],
      [25, 8],
    ] as const) {
      const found = Map.groupBy(streamsAt(day * DAY_MS), (stream) => stream);
      expect(found.size).toBe(count);
      for (const [, { length }] of found) expect(length / (ids.length / count)).toBeCloseTo(1, 0);
    }
  });

  test('is the same in every version: what was stored by this one is looked for there', () => {
    const known = [
      'job_aaaaaaaaaaaaaaaaaaaaaaaaaa',
      'job_bcdefghijklmnopqrstuvwxyz2',
      'job_7777777777777777777777777a',
    ];
    expect(known.map((id) => homeOf(raised, id, 25 * DAY_MS).stream)).toEqual(['JOBS_7', 'JOBS_2', 'JOBS_2']);
  });

  test('is among the places where a job of any time is looked for, the newest first', () => {
    for (const id of ids.slice(0, 200)) {
      const places = placesOf(raised, id);
      expect(places[0]).toBe(homeOf(raised, id, 25 * DAY_MS));
      for (const day of [0, 10, 20]) expect(places).toContain(homeOf(raised, id, day * DAY_MS));
    }
  });

  test('is one of the streams of the layouts', () => {
    expect(jobStreamsOf(ONE_PARTITION)).toEqual(['JOBS']);
    expect(jobStreamsOf(raised)).toHaveLength(8);
  });
});
