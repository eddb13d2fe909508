import { expect, test } from 'vitest';
import { criticalPath } from './critical-path.ts';
import type { SpanRecord } from './otlp-json.ts';

/** A span from one millisecond to another. */
function span(
  spanId: string,
  parentSpanId: string | undefined,
  kind: SpanRecord['kind'],
  startMs: number,
  endMs: number,
): SpanRecord {
  return {
    traceId: 't',
    spanId,
    parentSpanId,
    kind,
    startMs,
    durationMs: endMs - startMs,
    name: spanId,
    service: 's',
    instance: 's',
    attributes: {},
    events: [],
    links: [],
    failed: false,
    statusMessage: undefined,
  };
}

const shown = (spans: readonly SpanRecord[]): readonly string[] =>
  criticalPath(spans).map(({ kind, span, fromMs, toMs }) => `${kind} ${span.spanId} ${fromMs}-${toMs}`);

test('goes through the children that a span waited for', () => {
  const spans = [
    span('request', undefined, 'server', 0, 100),
    span('store', 'request', 'client', 10, 40),
    span('look', 'request', 'client', 15, 30),
    span('publish', 'request', 'producer', 50, 90),
  ];
  expect(shown(spans)).toEqual([
    'work request 0-10',
    'work store 10-40',
    'work request 40-50',
    'work publish 50-90',
    'work request 90-100',
  ]);
});

test('goes on through a queue to the callback, and leaves out what nothing waited for', () => {
  const spans = [
    span('request', undefined, 'server', 0, 12),
    span('publish work', 'request', 'producer', 2, 10),
    span('process work', 'publish work', 'consumer', 30, 80),
    span('convert', 'process work', 'internal', 31, 70),
    // Begins before the handler that emitted it has settled its message.
    span('process result', 'process work', 'consumer', 75, 84),
    span('publish callback', 'process result', 'producer', 76, 82),
    span('process callback', 'publish callback', 'consumer', 83, 95),
    span('process event', 'request', 'consumer', 20, 25),
  ];
  expect(shown(spans)).toEqual([
    'work request 0-2',
    'work publish work 2-10',
    'wait process work 10-30',
    'work process work 30-31',
    'work convert 31-70',
    'work process work 70-75',
    'work process result 75-76',
    'work publish callback 76-82',
    'wait process callback 82-83',
    'work process callback 83-95',
  ]);
});

test('covers the time from the first span to the end of the last without a gap', () => {
  const spans = [
    span('a', undefined, 'server', 0, 5),
    span('b', 'a', 'producer', 1, 4),
    span('c', 'b', 'consumer', 3, 20),
    span('d', 'c', 'client', 4, 21),
  ];
  const path = criticalPath(spans);
  path.slice(1).forEach((section, at) => expect(section.fromMs).toBe(path[at]?.toMs));
  expect([path[0]?.fromMs, path.at(-1)?.toMs]).toEqual([0, 21]);
});

test('begins at a span whose parent never arrived, and ends in a circle', () => {
  expect(shown([span('a', 'missing', 'consumer', 5, 9)])).toEqual(['work a 5-9']);
  expect(shown([span('a', 'b', 'internal', 0, 9), span('b', 'a', 'internal', 0, 9)])).not.toEqual([]);
  expect(criticalPath([])).toEqual([]);
});
