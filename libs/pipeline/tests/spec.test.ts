import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { optionsPage } from '../options-page.ts';
import { definePipeline, memoryIdempotencyStore, PipelineConfigError } from '../src/index.ts';
import type { PipelineSpec } from '../src/index.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const good: PipelineSpec<Job, undefined> = {
  name: 'good',
  sources: [{ stream: 'S', consumer: 'c' }],
  decode: decodeJson,
  handle: async () => undefined,
};
/** What a JavaScript caller, or a configuration file, may hand in. */
const define = (spec: object): unknown => definePipeline(spec as PipelineSpec<Job, undefined>);
function pathsOf(spec: object): string[] {
  try {
    define(spec);
  } catch (error) {
    if (error instanceof PipelineConfigError) return error.problems.map(({ path }) => path);
    throw error;
  }
  return [];
}

describe('the spec is checked when it is defined', () => {
  test('a name, a source, a decoder and a handler are enough', () => {
    expect(pathsOf(good)).toEqual([]);
  });

  test('every problem is listed with its path, in one error', () => {
    const spec = {
      name: 'spaces are bad',
      sources: [{ stream: 'a.b', consumer: 'c', weight: 0 }],
      decode: 'json',
      flow: { concurrency: 0, prefetch: -1, rate: { limit: 5 }, expiresMs: 1000, idleHeartbeatMs: 800 },
      ack: { waitMs: 3000, heartbeatMs: 1500, confirm: 'maybe' },
      retry: { baseMs: 500, maxMs: 100, jiter: 'full' },
      breaker: { failureRatio: 2 },
      idempotency: { key: () => 'k' },
      handle: async () => undefined,
      colour: 'red',
    };
    expect(new Set(pathsOf(spec))).toEqual(
      new Set([
        'colour',
        'name',
        'decode',
        'sources[0].stream',
        'sources[0].weight',
        'flow.concurrency',
        'flow.prefetch',
        'flow.rate.perMs',
        'flow.expiresMs',
        'ack.confirm',
        'ack.heartbeatMs',
        'retry.jiter',
        'retry.maxMs',
        'breaker.failureRatio',
        'idempotency.store',
      ]),
    );
    expect(() => define(spec)).toThrow(
      'retry.jiter: is not an option; known: maxAttempts, maxUnknownDeliveries, baseMs',
    );
    expect(() => define(spec)).toThrow('ack.confirm: must be one of flush, each, none, got "maybe"');
  });

  test('one kind of handler, and what belongs to it', () => {
    const handleBatch = async () => undefined;
    const { handle: _, ...rest } = good as { handle?: unknown };
    expect(pathsOf(rest)).toContain('handle');
    expect(pathsOf({ ...good, handleBatch, batch: { maxSize: 1, maxWaitMs: 1 } })).toContain('handle');
    expect(pathsOf({ ...rest, handleBatch })).toContain('batch');
    expect(pathsOf({ ...good, batch: { maxSize: 1, maxWaitMs: 1 } })).toContain('batch');
    expect(pathsOf({ ...good, use: 'logging' })).toContain('use');
    const batched = { ...rest, handleBatch, batch: { maxSize: 5, maxWaitMs: 40_000 } };
    expect(pathsOf({ ...batched, ack: { waitMs: 30_000 } })).toEqual(['batch.maxWaitMs']);
    expect(pathsOf({ ...batched, flow: { prefetch: 5, orderBy: () => 'a' }, use: [] })).toEqual([
      'flow.orderBy',
      'flow.prefetch',
    ]);
  });

  test('sources: at least one, none twice, and a slot for each', () => {
    expect(pathsOf({ ...good, sources: [] })).toContain('sources');
    const twice = [
      { stream: 'S', consumer: 'c' },
      { stream: 'S', consumer: 'c' },
    ];
    expect(pathsOf({ ...good, sources: twice, flow: { concurrency: 1 } })).toEqual(['sources[1]', 'flow.concurrency']);
  });

  test('a store needs the shape of one', () => {
    expect(pathsOf({ ...good, idempotency: { key: () => 'k', store: {} } })).toEqual(['idempotency.store']);
    expect(pathsOf({ ...good, idempotency: { key: () => 'k', store: memoryIdempotencyStore() } })).toEqual([]);
  });
});

test('the reference page is the schema as it is', () => {
  const page = readFileSync(join(import.meta.dirname, '../OPTIONS.md'), 'utf8');
  expect(page, 'out of date: run `node libs/pipeline/options-page.ts`').toBe(optionsPage());
});
