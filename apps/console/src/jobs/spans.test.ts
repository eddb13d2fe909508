import { describe, expect, test } from 'vitest';
import type { TimelineEntry } from '@sluice/client';
import { spanReader, spansOf, totals } from './spans.ts';

const at = (ms: number): string => new Date(1_000_000 + ms).toISOString();
const image = { app: 'image', pipeline: 'binary_to_pdf', instance: 'image-1' };
const accepted: TimelineEntry[] = [
  { at: at(0), app: 'gateway', event: 'accepted', state: 'accepted' },
  { at: at(10), app: 'gateway', event: 'published', instance: 'gateway' },
];
const shape = (entries: TimelineEntry[], nowMs = 0, ended = true) =>
  spansOf(entries, 1_000_000 + nowMs, ended).map(({ kind, label, fromMs, toMs }) => [
    kind,
    label,
    fromMs - 1_000_000,
    toMs - 1_000_000,
  ]);

describe('the spans of a job', () => {
  test('waits stand apart from work', () => {
    const entries: TimelineEntry[] = [
      ...accepted,
      { at: at(100), ...image, event: 'received', attempt: 1 },
      { at: at(300), ...image, event: 'attempt', attempt: 1 },
      { at: at(800), ...image, event: 'effect_done', attempt: 1, detail: 'ack' },
      { at: at(790), app: 'gateway', event: 'succeeded', state: 'succeeded' },
    ];
    expect(shape(entries)).toEqual([
      ['work', 'Gateway: accepted and queued', 0, 10],
      ['wait', 'Conversion: waiting in the queue', 10, 100],
      ['wait', 'Conversion: waiting for a free slot', 100, 300],
      ['work', 'Conversion: attempt 1', 300, 800],
    ]);
    expect(totals(spansOf(entries, 0, true))).toEqual({ workMs: 510, waitMs: 290 });
  });

  test('the time between attempts is waiting, and an attempt that failed is marked', () => {
    const spans = spansOf(
      [
        ...accepted,
        { at: at(10), ...image, event: 'attempt', attempt: 1 },
        { at: at(50), ...image, event: 'retry_scheduled', attempt: 1, durationMs: 1_000 },
        { at: at(1_050), ...image, event: 'attempt', attempt: 2 },
      ],
      1_000_000 + 1_500,
      false,
    );
    expect(spans.map(({ label, failed, open }) => [label, failed, open])).toEqual([
      ['Gateway: accepted and queued', false, false],
      ['Conversion: attempt 1', true, false],
      ['Conversion: waiting for the next attempt', false, false],
      ['Conversion: attempt 2', false, true],
    ]);
    expect(spans.at(-1)?.toMs).toBe(1_000_000 + 1_500);
  });

  test('read piece by piece are those of the whole', () => {
    const callback = { app: 'client', pipeline: 'callbacks', instance: 'client-1' };
    const entries: TimelineEntry[] = [
      ...accepted,
      ...Array.from({ length: 50 }, (_, n) => [
        { at: at(100 + 20 * n), ...image, event: 'attempt', attempt: n + 1 },
        { at: at(105 + 20 * n), ...callback, event: 'attempt', attempt: n + 1 },
        { at: at(110 + 20 * n), ...image, event: 'retry_scheduled', attempt: n + 1 },
        { at: at(118 + 20 * n), ...callback, event: 'effect_done', attempt: n + 1 },
      ]).flat(),
    ];
    const reader = spanReader();
    for (const [index, entry] of entries.entries()) {
      reader.add([entry]);
      const nowMs = Date.parse(entry.at) + 1;
      expect(reader.spans(nowMs, false)).toEqual(spansOf(entries.slice(0, index + 1), nowMs, false));
    }
    const spans = reader.spans(1_002_000, true);
    expect(spans).toEqual(spans.toSorted((a, b) => a.fromMs - b.fromMs));
    // The conversion works half of the time and the callback from its middle until 8 ms after it: 18 of 20.
    expect(totals(spans)).toEqual({ workMs: 10 + 50 * 18, waitMs: 100 - 10 + 49 * 2 });
  });

  test('work that no replica has taken waits in the queue until now', () => {
    expect(shape(accepted, 500, false).at(-1)).toEqual(['wait', 'Waiting in the queue', 10, 500]);
  });
});
